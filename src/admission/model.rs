use std::{collections::HashMap, iter::zip, sync::Mutex};

use shuttle::{
    future::block_on,
    thread::{self, JoinHandle},
};

use super::{share::UNIT, *};
use crate::sync::in_many_orders;

struct Callers {
    admission: Arc<Admission>,
    held: Arc<Mutex<Held>>,
    threads: Vec<JoinHandle<()>>,
}

/// What those who have room have. No thread waits for its lock: it is no step.
#[derive(Default)]
struct Held {
    all: Share,
    hosts: HashMap<Host, Share>,
    is_over: bool,
}

/// Places in all, places of a host, and memory in units, of which a body is two: each with one that
/// is scarce.
const LIMITS: [(usize, usize, usize); 3] = [(2, 9, 99), (9, 1, 99), (9, 9, 3)];

impl Callers {
    /// Each comes once, shrinks its room, and goes.
    fn come(limits: (usize, usize, usize), hosts: &[&str]) -> Self {
        let (outstanding, outstanding_per_host, units) = limits;
        let admission = Arc::new(Admission::new(
            &Limits {
                outstanding,
                outstanding_per_host,
                body: 2 * UNIT,
                memory: units * UNIT,
            },
            Events::default(),
        ));
        let held = Arc::<Mutex<Held>>::default();
        let call = |(&host, units): (&&str, u32)| {
            let (admission, held) = (Arc::clone(&admission), Arc::clone(&held));
            let host = Host::from(host);
            thread::spawn(move || {
                if let Ok(mut room) = admission.try_admit(admission.of_host(&host)) {
                    let share = |places, units| Share { places, units };
                    let lock = || held.lock().unwrap();
                    lock().add(&admission, &host, share(1, 2));
                    thread::yield_now();
                    lock().remove(&host, share(0, 2 - units));
                    room.shrink_to(units as usize * UNIT);
                    lock().remove(&host, share(1, units));
                }
            })
        };
        let threads = zip(hosts, [1, 2, 0]).map(call).collect();
        Self {
            admission,
            held,
            threads,
        }
    }

    fn go(&mut self) {
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
        assert_eq!(self.admission.taken.get(), Share::default());
        self.no_host_has_any();
    }

    fn no_host_has_any(&self) {
        for host in ["a", "b"] {
            assert_eq!(
                self.admission.hosts.of(&host.into()).0.get(),
                Share::default()
            );
        }
    }
}

impl Held {
    fn add(&mut self, admission: &Admission, host: &Host, share: Share) {
        assert!(!self.is_over, "there is room after the end");
        let of_host = self.hosts.entry(host.clone()).or_default();
        for (held, most) in [
            (of_host, admission.host_limit),
            (&mut self.all, admission.limit),
        ] {
            held.places += share.places;
            held.units += share.units;
            assert!(held.places <= most.places && held.units <= most.units);
        }
    }

    fn remove(&mut self, host: &Host, share: Share) {
        assert!(!self.is_over, "there is room after the end");
        let of_host = self.hosts.entry(host.clone()).or_default();
        for held in [of_host, &mut self.all] {
            held.places -= share.places;
            held.units -= share.units;
        }
    }
}

#[test]
fn no_more_than_there_is_is_taken_and_all_of_it_comes_back() {
    for limits in LIMITS {
        in_many_orders(move || Callers::come(limits, &["a", "a", "b"]).go());
    }
}

#[test]
fn whoever_closes_waits_for_all_who_have_room_and_lets_nobody_in() {
    for limits in LIMITS {
        in_many_orders(move || {
            let mut callers = Callers::come(limits, &["a", "a"]);
            callers.admission.close();
            block_on(callers.admission.all_given_back());
            callers.held.lock().unwrap().is_over = true;
            // Who comes now takes a share for the moment in which all turns out to be over.
            callers.no_host_has_any();
            callers.go();
        });
    }
}

#[test]
fn all_who_wait_for_the_last_room_hear_of_it() {
    in_many_orders(|| {
        let mut callers = Callers::come((9, 9, 99), &["a", "b"]);
        let admission = Arc::clone(&callers.admission);
        let waits = thread::spawn(move || block_on(admission.all_given_back()));
        block_on(callers.admission.all_given_back());
        waits.join().unwrap();
        callers.go();
    });
}
