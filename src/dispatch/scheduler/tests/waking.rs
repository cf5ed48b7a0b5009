//! When to look again. A time that has passed would have whoever sleeps until then look again and again.

use super::*;

#[test]
fn what_waits_for_a_permit_waits_for_no_time() {
    let mut scheduler = scheduler(8, 1);
    let mut now = Instant::now();
    for number in 0..8 {
        scheduler.arrive(job(&number.to_string()), Source::Call);
    }
    let mut started = 0;
    loop {
        while scheduler.start(now).is_some() {
            started += 1;
        }
        match scheduler.next_wake(now) {
            Some(at) => now = at,
            None => break,
        }
    }
    assert_eq!(started, 4);
}

#[test]
fn what_can_start_already_waits_for_no_time() {
    let mut scheduler = scheduler(512, 64);
    let now = Instant::now();
    for number in 0..5_000 {
        scheduler.arrive(job(&number.to_string()), Source::Call);
    }
    while scheduler.start(now).is_some() {}
    let at = scheduler.next_wake(now).unwrap();
    assert!(at > now && !scheduler.can_start(now));
    assert!(scheduler.can_start(at));
    assert_eq!(scheduler.next_wake(at), None);
}
