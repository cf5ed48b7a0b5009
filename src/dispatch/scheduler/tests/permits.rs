//! Which host gets how many permits, and when.

use super::{super::limits::FEW, *};

#[test]
fn a_host_that_has_answered_once_has_its_whole_limit_at_once() {
    let mut scheduler = scheduler(512, 64);
    for _ in 0..600 {
        scheduler.arrive(job("a"), Source::Call);
    }
    assert_eq!(start_all(&mut scheduler).len(), FEW);
    scheduler.end(&"a".into(), AttemptEnd::Answered, Instant::now());
    assert_eq!(start_all(&mut scheduler).len(), 64 - (FEW - 1));
}

#[test]
fn a_moment_without_attempts_makes_no_host_a_stranger() {
    let mut scheduler = scheduler(512, 64);
    scheduler.arrive(job("a"), Source::Call);
    start_all(&mut scheduler);
    scheduler.end(&"a".into(), AttemptEnd::Answered, Instant::now());
    assert!(scheduler.hosts.is_empty());
    for _ in 0..600 {
        scheduler.arrive(job("a"), Source::Outbox);
    }
    assert_eq!(start_all(&mut scheduler).len(), 64);
}

#[test]
fn hosts_that_never_answer_share_half_of_the_permits() {
    let mut scheduler = scheduler(512, 64);
    for number in 0..5_000 {
        for _ in 0..10 {
            scheduler.arrive(job(&number.to_string()), Source::Call);
        }
    }
    assert_eq!(start_all(&mut scheduler).len(), 192 + 1);
    scheduler.arrive(job("known"), Source::Call);
    assert!(start_all(&mut scheduler).is_empty(), "it is not known yet");
    scheduler
        .known
        .put("known".into(), (Standing::Answering, 0));
    scheduler.extract(|job| job.host.as_str() == "known");
    scheduler
        .known
        .put("known".into(), (Standing::Answering, 0));
    for _ in 0..64 {
        scheduler.arrive(job("known"), Source::Call);
    }
    assert_eq!(start_all(&mut scheduler).len(), 64);
}

#[test]
fn hosts_that_an_outbox_brings_leave_permits_for_those_that_are_called() {
    let mut scheduler = scheduler(512, 64);
    for number in 0..5_000 {
        scheduler.arrive(job(&number.to_string()), Source::Outbox);
    }
    assert_eq!(start_all(&mut scheduler).len(), 128);
    scheduler.arrive(job("new"), Source::Call);
    assert_eq!(start_all(&mut scheduler), [job("new")]);
    // Also where the outbox had some of it.
    scheduler.arrive(job("both"), Source::Outbox);
    assert!(start_all(&mut scheduler).is_empty());
    scheduler.arrive(job("both"), Source::Call);
    assert_eq!(start_all(&mut scheduler).len(), 2);
}

#[test]
fn a_host_that_fails_again_and_again_is_tried_now_and_then() {
    let mut scheduler = scheduler(512, 64);
    let mut now = Instant::now();
    for _ in 0..1_000 {
        scheduler.arrive(job("dead"), Source::Call);
    }
    let began = now;
    let mut attempts = 0;
    while now.duration_since(began) < Duration::from_secs(100) {
        match scheduler.start(now) {
            Some(job) => {
                attempts += 1;
                scheduler.end(&job.host, AttemptEnd::Failed, now);
            }
            None => now = scheduler.next_wake(now).unwrap(),
        }
    }
    assert!((100..150).contains(&attempts), "{attempts}");
    // One answer, and all is well.
    let job = loop {
        match scheduler.start(now) {
            Some(job) => break job,
            None => now = scheduler.next_wake(now).unwrap(),
        }
    };
    scheduler.end(&job.host, AttemptEnd::Answered, now);
    assert_eq!(start_all(&mut scheduler).len(), 64);
}

#[test]
fn a_start_among_thousands_of_parked_hosts_costs_what_one_costs_among_few() {
    let mut scheduler = scheduler(20_000, 1);
    for number in 0..5_000 {
        for _ in 0..2 {
            scheduler.arrive(job(&number.to_string()), Source::Call);
        }
    }
    assert_eq!(start_all(&mut scheduler).len(), 5_000);
    scheduler.arrive(job("free"), Source::Call);
    // Parked hosts are in no list that a start looks at.
    assert_eq!(scheduler.line.in_turn(), 1);
    assert_eq!(start_all(&mut scheduler), [job("free")]);
}

/// All that stall have come before it, and none of them ends.
#[test]
fn a_host_that_was_named_last_is_soon_tried_however_many_stall() {
    let mut scheduler = scheduler(512, 64);
    let mut now = Instant::now();
    for number in 0..5_000 {
        for _ in 0..10 {
            scheduler.arrive(job(&number.to_string()), Source::Call);
        }
    }
    while scheduler.start(now).is_some() {}
    for number in 0..60 {
        let name = format!("new-{number}");
        scheduler.arrive(job(&name), Source::Call);
        now = scheduler.next_wake(now).unwrap();
        assert_eq!(scheduler.start(now), Some(job(&name)));
        assert_eq!(scheduler.start(now), None);
    }
    let began = now;
    assert!(scheduler.next_wake(now).unwrap() - began < Duration::from_millis(250));
}

/// The number that the README and the builder name.
#[test]
fn a_host_that_has_not_answered_yet_has_four_attempts() {
    let mut scheduler = scheduler(512, 64);
    for _ in 0..20 {
        scheduler.arrive(job("new"), Source::Call);
    }
    assert_eq!(start_all(&mut scheduler).len(), 4);
}
