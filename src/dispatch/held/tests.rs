use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::{
    delivery::DeliveryParts,
    dispatch::{
        scheduler::{AttemptEnd, Scheduler, SchedulerLimits, Source},
        store::{Job, Which},
    },
    endpoint::{EndpointPolicy, Host},
    outbox::{Durability, Want},
};

const TIME: Duration = Duration::from_secs(10);

/// A store of which four deliveries may be in memory, where two of a host that stalls wait already: no
/// more is asked for of hosts in general.
struct Stalled {
    state: StoreState,
    scheduler: Scheduler<Job>,
    runtime: Runtime,
}

fn job(host: &str) -> Job {
    let endpoint = EndpointPolicy::public().check(&format!("https://{host}/"));
    let parts = DeliveryParts::new(endpoint.unwrap(), "done".into());
    let delivery = crate::Delivery::from(parts);
    let lease = Lease::new(delivery.id(), 1);
    Job::new(delivery, lease, Which::Given)
}

fn host(name: &str) -> Host {
    Host::from(name)
}

impl Stalled {
    fn new() -> Self {
        let mut limits = Limits::new(Durability::LocalDisk);
        limits.lease = Some(TIME);
        let bounds = HeldBounds {
            deliveries: 4,
            bytes: 1 << 20,
        };
        let mut scheduler = Scheduler::new(SchedulerLimits {
            attempts: 8,
            per_host: 4,
            time: TIME,
        });
        answer(&mut scheduler, "answers.example");
        for _ in 0..2 {
            scheduler.arrive(job("stalls.example"), Source::Call);
        }
        Self {
            state: StoreState::new(&limits, bounds),
            scheduler,
            runtime: Builder::new_current_thread().build().unwrap(),
        }
    }

    fn leave_out(&mut self, name: &str) {
        self.state.leave_out(&self.scheduler, &host(name));
    }

    fn fetch(&mut self) -> (Want, Amount) {
        let now = Instant::now();
        self.state.fetch_at(now);
        let id = self.runtime.handle().id();
        let asked = self.state.begin_fetch(&self.scheduler, id, now);
        asked.expect("there is room, and nobody is asking")
    }

    /// It has brought so many, with a byte each.
    fn end(&mut self, expected: Amount, found: Option<usize>) {
        let found = found.map(|number| Amount {
            deliveries: number,
            bytes: number,
        });
        self.end_with(expected, found);
    }

    fn end_with(&mut self, expected: Amount, found: Option<Amount>) {
        let now = Instant::now();
        self.state.end_fetch(expected, found, true, None, now);
    }
}

/// A host that has answered once.
fn answer(scheduler: &mut Scheduler<Job>, name: &str) {
    let now = Instant::now();
    scheduler.arrive(job(name), Source::Call);
    scheduler.start(now).expect("one is due");
    scheduler.end(&host(name), AttemptEnd::Answered, now);
}

#[test]
fn who_answers_is_asked_for_by_name_where_others_stall() {
    let mut stalled = Stalled::new();
    for name in ["answers.example", "new.example", "stalls.example"] {
        stalled.leave_out(name);
    }
    let (want, _) = stalled.fetch();
    assert_eq!(want.of_other_hosts, 0);
    assert!(want.of(&host("answers.example")) > 0);
    assert!(want.of(&host("new.example")) > 0);
    assert_eq!(want.of(&host("stalls.example")), 0);
}

#[test]
fn nobody_is_asked_for_by_name_once_all_have_come() {
    let mut stalled = Stalled::new();
    stalled.leave_out("answers.example");
    let (want, expected) = stalled.fetch();
    stalled.end(expected, Some(want.deliveries));
    let (want, expected) = stalled.fetch();
    assert!(want.of(&host("answers.example")) > 0, "there may be more");
    stalled.end(expected, None);
    let (want, expected) = stalled.fetch();
    assert!(want.of(&host("answers.example")) > 0, "nobody knows");
    stalled.end(expected, Some(want.deliveries - 1));
    let (want, _) = stalled.fetch();
    assert_eq!(want.of(&host("answers.example")), 0);
}

#[test]
fn a_large_payload_that_ends_a_fetch_may_leave_some() {
    let mut stalled = Stalled::new();
    stalled.leave_out("answers.example");
    let (want, expected) = stalled.fetch();
    let found = Amount {
        deliveries: 1,
        bytes: want.bytes,
    };
    stalled.end_with(expected, Some(found));
    let (want, _) = stalled.fetch();
    assert!(want.of(&host("answers.example")) > 0);
}

#[test]
fn what_is_left_out_during_a_fetch_is_for_the_next_one() {
    let mut stalled = Stalled::new();
    let (_, expected) = stalled.fetch();
    stalled.leave_out("answers.example");
    stalled.end(expected, Some(0));
    let (want, _) = stalled.fetch();
    assert!(want.of(&host("answers.example")) > 0);
}

#[test]
fn what_is_left_to_others_is_not_kept_in_mind() {
    let mut left = Stalled::new();
    left.state.leave_to_others();
    left.leave_out("new.example");
    assert_eq!(left.state.left_out.hosts().count(), 0);
}

#[test]
fn an_outbox_is_stuck_until_the_last_call_has_ended() {
    let mut state = Stalled::new().state;
    for _ in 0..2 {
        state.begin_stuck_call();
    }
    state.end_stuck_call();
    assert!(state.is_stuck());
    state.end_stuck_call();
    assert!(!state.is_stuck());
}
