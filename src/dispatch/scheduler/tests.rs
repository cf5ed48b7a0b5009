//! Random sequences against a model that looks at everything.

use std::collections::HashMap;

use proptest::prelude::*;

use super::{limits::FEW, *};

const TIME: Duration = Duration::from_secs(15);

#[derive(Clone, Debug, PartialEq)]
struct Job {
    host: Host,
    number: usize,
}

impl Due for Job {
    fn host(&self) -> &Host {
        &self.host
    }
}

#[derive(Clone, Debug)]
enum Step {
    Arrive(u8, Source),
    Start,
    End(usize, AttemptEnd),
    /// For so many milliseconds.
    PutOff(usize, u64),
    /// In milliseconds.
    Pass(u64),
    Evict,
}

fn step(hosts: u8) -> impl Strategy<Value = Step> {
    let source = prop_oneof![Just(Source::Call), Just(Source::Outbox)];
    let ended = prop_oneof![
        3 => Just(AttemptEnd::Answered),
        3 => Just(AttemptEnd::Failed),
        1 => Just(AttemptEnd::CutOff)
    ];
    prop_oneof![
        4 => (0..hosts, source).prop_map(|(host, source)| Step::Arrive(host, source)),
        4 => Just(Step::Start),
        3 => (any::<usize>(), ended).prop_map(|(which, ended)| Step::End(which, ended)),
        1 => (any::<usize>(), 0..1_500_u64).prop_map(|(which, time)| Step::PutOff(which, time)),
        1 => (0..1_500_u64).prop_map(Step::Pass),
        1 => Just(Step::Evict),
    ]
}

/// What there is, kept in the simplest way.
#[derive(Default)]
struct Model {
    waiting: HashMap<Host, VecDeque<usize>>,
    running: Vec<Job>,
    /// How often each host had a turn while another one was due and had a permit.
    turns_past: HashMap<Host, HashMap<Host, usize>>,
    arrived: usize,
    started: usize,
    evicted: usize,
}

impl Model {
    fn running_of(&self, host: &Host) -> usize {
        self.running.iter().filter(|job| job.host == *host).count()
    }
}

fn host(number: u8) -> Host {
    Host::from(&*format!("host-{number}"))
}

impl Scheduler<Job> {
    /// Whether this host is due and has a permit, worked out anew.
    fn is_eligible(&self, host: &Host, now: Instant) -> bool {
        self.hosts.get(host).is_some_and(|queue| {
            !queue.due.is_empty()
                && queue.running < self.limits.attempts_of(queue.standing)
                && self.running < self.limits.attempts
                && !matches!(self.share_of(queue.standing, now), turn::Share::Nothing)
                && !matches!(queue.place, Place::Paused(..))
        })
    }

    /// Everything that is written down twice is the same.
    fn check(&self) {
        let mut running_by = [0; Standing::NUMBER];
        let mut waiting_by = [0; Standing::NUMBER];
        let mut in_turn = 0;
        let mut paused = 0;
        for (host, queue) in &self.hosts {
            running_by[queue.standing.index()] += queue.running;
            waiting_by[queue.standing.index()] += queue.due.len();
            assert!(
                queue.running > 0 || !queue.due.is_empty(),
                "forgotten when idle"
            );
            let is_parked = queue.running >= self.limits.attempts_of(queue.standing);
            match queue.place {
                Place::Nowhere => assert!(queue.due.is_empty() || is_parked, "{host} is forgotten"),
                Place::InTurn(_) => {
                    in_turn += 1;
                    assert!(!queue.due.is_empty() && !is_parked);
                    assert_eq!(self.line.host_at(queue.place, queue.standing), Some(host));
                }
                Place::Paused(..) => {
                    paused += 1;
                    assert_eq!(self.line.host_at(queue.place, queue.standing), Some(host));
                }
            }
        }
        assert_eq!(running_by, self.running_by);
        assert_eq!(waiting_by, self.waiting_by);
        assert_eq!(running_by.iter().sum::<usize>(), self.running);
        assert_eq!(in_turn, self.line.in_turn());
        assert_eq!(paused, self.line.paused());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_limit_is_exceeded_nothing_is_lost_and_nobody_starves(
        attempts in 1..12_usize,
        per_host in 1..8_usize,
        steps in prop::collection::vec(step(6), 0..400),
    ) {
        let limits = SchedulerLimits { attempts, per_host, time: TIME };
        let mut scheduler = Scheduler::new(limits);
        let mut model = Model::default();
        let mut now = Instant::now();
        for step in steps {
            match step {
                Step::Arrive(number, source) => {
                    let job = Job { host: host(number), number: model.arrived };
                    model.arrived += 1;
                    model.waiting.entry(job.host.clone()).or_default().push_back(job.number);
                    scheduler.arrive(job, source);
                }
                Step::Start => {
                    scheduler.end_pauses(now);
                    let eligible: Vec<_> =
                        model.waiting.keys().filter(|host| scheduler.is_eligible(host, now)).cloned().collect();
                    prop_assert_eq!(scheduler.can_start(now), !eligible.is_empty());
                    let Some(job) = scheduler.start(now) else {
                        prop_assert!(eligible.is_empty());
                        continue;
                    };
                    prop_assert!(eligible.contains(&job.host));
                    let next = model.waiting.get_mut(&job.host).unwrap().pop_front();
                    prop_assert_eq!(next, Some(job.number), "in the order of its host");
                    for other in eligible.iter().filter(|other| **other != job.host) {
                        let past = model.turns_past.entry(other.clone()).or_default();
                        let turns = past.entry(job.host.clone()).or_default();
                        *turns += 1;
                        prop_assert!(*turns < 2, "{} had two turns past {other}", job.host);
                    }
                    model.turns_past.remove(&job.host);
                    model.started += 1;
                    model.running.push(job);
                }
                Step::End(which, ended) if !model.running.is_empty() => {
                    let job = model.running.swap_remove(which % model.running.len());
                    scheduler.end(&job.host, ended, now);
                }
                Step::PutOff(which, ms) if !model.running.is_empty() => {
                    let job = model.running.swap_remove(which % model.running.len());
                    model.waiting.entry(job.host.clone()).or_default().push_front(job.number);
                    model.started -= 1;
                    scheduler.put_off(job, now + Duration::from_millis(ms));
                }
                Step::End(..) | Step::PutOff(..) => {}
                Step::Evict => {
                    if let Some(job) = scheduler.evict() {
                        let last = model.waiting.get_mut(&job.host).unwrap().pop_back();
                        prop_assert_eq!(last, Some(job.number));
                        model.evicted += 1;
                    }
                }
                Step::Pass(ms) => now += Duration::from_millis(ms),
            }
            // Who is not due, or has no permit, begins to wait anew.
            model.turns_past.retain(|host, _| scheduler.is_eligible(host, now));
            scheduler.check();
            prop_assert_eq!(scheduler.running(), model.running.len());
            prop_assert!(model.running.len() <= attempts);
            for number in 0..6 {
                prop_assert!(model.running_of(&host(number)) <= per_host);
            }
        }
        // Everything that came is there, started or not.
        let left = scheduler.extract(|_| true).len();
        prop_assert_eq!(left + model.started + model.evicted, model.arrived);
        scheduler.check();
        prop_assert!(!scheduler.can_start(now));
    }
}

fn scheduler(attempts: usize, per_host: usize) -> Scheduler<Job> {
    Scheduler::new(SchedulerLimits {
        attempts,
        per_host,
        time: TIME,
    })
}

fn job(name: &str) -> Job {
    Job {
        host: Host::from(name),
        number: 0,
    }
}

fn start_all(scheduler: &mut Scheduler<Job>) -> Vec<Job> {
    let now = Instant::now();
    std::iter::from_fn(|| scheduler.start(now)).collect()
}

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

/// A time that has passed would have whoever sleeps until then look again and again.
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

/// The number that the README and the builder name.
#[test]
fn a_host_that_has_not_answered_yet_has_four_attempts() {
    let mut scheduler = scheduler(512, 64);
    for _ in 0..20 {
        scheduler.arrive(job("new"), Source::Call);
    }
    assert_eq!(start_all(&mut scheduler).len(), 4);
}

/// Whoever sleeps until a time that has passed looks again and again.
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
