//! Random sequences against a model that looks at everything.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

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
            let returnable = queue.due.iter().filter(|job| job.can_go_back()).count();
            assert_eq!(returnable, queue.returnable);
            waiting_by[queue.standing.index()] += returnable;
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
                        let waiting = model.waiting.get_mut(&job.host).unwrap();
                        let last = waiting.iter().rposition(|number| can_go_back(*number)).unwrap();
                        prop_assert_eq!(waiting.remove(last), Some(job.number));
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
