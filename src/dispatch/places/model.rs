use std::{collections::VecDeque, pin::pin};

use futures_util::future::select;
use shuttle::{
    future::block_on,
    thread::{self, JoinHandle},
};

use super::*;
use crate::sync::in_many_orders;

/// A worker and what it has to do. As the real one's source it looks at a host that had no room
/// only when it is told.
struct Worker {
    places: Places,
    ear: Listening,
    ready: VecDeque<Host>,
    aside: Arc<Aside>,
    attempts: Vec<JoinHandle<()>>,
    under_way: Arc<UnderWay>,
}

/// Attempts take from it as well: whoever takes the last one says so.
#[derive(Default)]
struct Aside {
    hosts: Mutex<Vec<Host>>,
    is_empty: Notify,
}

impl Worker {
    fn new(places: &Places, hosts: &[&str]) -> Self {
        Self {
            places: places.clone(),
            ear: places.listen(),
            ready: hosts.iter().map(|host| Host::from(*host)).collect(),
            aside: Arc::default(),
            attempts: Vec::new(),
            under_way: Arc::default(),
        }
    }

    /// Ends once each attempt has had its place: one of which it is not told is waited for for
    /// ever.
    fn run(mut self) {
        while !(self.ready.is_empty() && lock(&self.aside.hosts).is_empty()) {
            self.hear();
            if self.places.free() == 0 {
                block_on(self.ear.freed());
            } else if let Some(host) = self.ready.pop_front() {
                self.claim(host);
            } else {
                self.ear.has_looked();
                let freed = pin!(self.ear.freed());
                block_on(select(freed, pin!(self.aside.is_empty.notified())));
            }
        }
        for attempt in self.attempts {
            attempt.join().unwrap();
        }
    }

    fn hear(&mut self) {
        let mut freed = Freed::default();
        self.ear.take(&mut freed);
        let is_told = |host: &mut Host| freed.any || freed.hosts.contains(host);
        self.ready
            .extend(lock(&self.aside.hosts).extract_if(.., is_told));
    }

    fn claim(&mut self, host: Host) {
        let alone = self.places.claiming();
        if self.places.room(&host) == 0 {
            lock(&self.aside.hosts).push(host);
            return;
        }
        let place = self.places.take(host);
        drop(alone);
        self.begin(place);
    }

    fn begin(&mut self, mut place: Place) {
        if self.attempts.len() % 2 == 1 {
            place.host_has_answered();
        }
        let aside = Arc::clone(&self.aside);
        let under_way = Arc::clone(&self.under_way);
        under_way.begin(&place);
        self.attempts.push(thread::spawn(move || {
            while place.is_the_hosts() && take(&aside, &place.host) {}
            under_way.end(place);
        }));
    }
}

/// As an attempt that has ended takes the next one to its host.
fn take(aside: &Aside, host: &Host) -> bool {
    let mut hosts = lock(&aside.hosts);
    let at = hosts.iter().position(|waits| waits == host);
    let taken = at.map(|at| hosts.remove(at));
    let was_last = taken.is_some() && hosts.is_empty();
    drop(hosts);
    if was_last {
        aside.is_empty.notify_one();
    }
    taken.is_some()
}

fn nothing_is_taken(places: &Places) {
    assert_eq!(places.shared.taken.load(Ordering::SeqCst), 0);
    assert_eq!(places.shared.hosts.hosts().len(), 0);
}

#[test]
fn no_place_is_given_back_unheard() {
    // There are too few in all; a host has as many as it may; one the one, the other the other.
    for (limit, per_host) in [(1, 1), (3, 3), (9, 1), (5, 2)] {
        in_many_orders(move || {
            let places = Places::new(limit, per_host);
            Worker::new(&places, &["a", "a", "a", "b", "b"]).run();
            nothing_is_taken(&places);
        });
    }
}

#[test]
fn each_of_two_workers_hears_of_the_places_that_it_wants() {
    for (limit, per_host) in [(1, 1), (3, 3), (9, 1)] {
        in_many_orders(move || {
            let places = Places::new(limit, per_host);
            let other = Worker::new(&places, &["a", "b"]);
            let other = thread::spawn(|| other.run());
            Worker::new(&places, &["a", "a"]).run();
            other.join().unwrap();
            nothing_is_taken(&places);
        });
    }
}

/// Attempts that have a place, by host.
#[derive(Default)]
struct UnderWay(Mutex<Vec<Host>>);

impl UnderWay {
    fn begin(&self, place: &Place) {
        let Place { shared, host, .. } = place;
        let mut all = lock(&self.0);
        all.push(host.clone());
        assert!(all.len() <= shared.limit);
        let of_host = all.iter().filter(|other| *other == host).count();
        assert!(of_host <= shared.per_host);
    }

    fn end(&self, place: Place) {
        let mut all = lock(&self.0);
        let at = all.iter().position(|host| *host == place.host);
        all.remove(at.unwrap());
    }
}

#[test]
fn past_the_worker_no_more_is_taken_than_there_is_and_no_place_is_unheard() {
    for (limit, per_host) in [(1, 1), (9, 1), (3, 2)] {
        in_many_orders(move || {
            let places = Places::new(limit, per_host);
            let worker = Worker::new(&places, &["a", "a", "b"]);
            let takers = ["a", "b"].map(|host| {
                let (places, host) = (places.clone(), Host::from(host));
                let under_way = Arc::clone(&worker.under_way);
                thread::spawn(move || {
                    if let Some(place) = places.try_take(&host) {
                        under_way.begin(&place);
                        under_way.end(place);
                    }
                })
            });
            worker.run();
            for taker in takers {
                taker.join().unwrap();
            }
            nothing_is_taken(&places);
        });
    }
}

/// Else it could go on for ever: there is always somebody who comes later.
#[test]
fn nobody_is_before_a_worker_that_waits_for_any_place() {
    const WAITS: usize = 1;
    const HAS_LOOKED: usize = 2;
    in_many_orders(|| {
        let places = Places::new(1, 1);
        let mut ear = places.listen();
        let place = places.take("first".into());
        assert_eq!(places.free(), 0);
        let worker = Arc::new(AtomicUsize::new(WAITS));
        let giving_back = thread::spawn(move || drop(place));
        let later = {
            let (places, worker) = (places.clone(), Arc::clone(&worker));
            thread::spawn(move || {
                let place = places.try_take(&"later".into());
                let has_looked = worker.load(Ordering::SeqCst) == HAS_LOOKED;
                assert!(place.is_none() || has_looked);
            })
        };
        block_on(ear.freed());
        ear.take(&mut Freed::default());
        let claiming = places.claiming();
        assert_eq!(places.room(&"waits".into()), 1);
        let place = places.take("waits".into());
        drop(claiming);
        worker.store(HAS_LOOKED, Ordering::SeqCst);
        ear.has_looked();
        drop(place);
        giving_back.join().unwrap();
        later.join().unwrap();
        nothing_is_taken(&places);
    });
}
