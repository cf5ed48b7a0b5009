use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};

use super::*;

#[test]
fn a_domain_is_what_can_be_registered() {
    for (name, expected) in [
        ("example.com", "example.com"),
        ("a.b.example.com", "example.com"),
        ("a.example.co.uk", "example.co.uk"),
        ("example.com.au", "example.com.au"),
        ("a.b.t.co", "t.co"),
        ("a.com.example", "com.example"),
        ("co.uk", "co.uk"),
        ("intranet", "intranet"),
        ("", ""),
    ] {
        assert_eq!(domain(name), expected, "{name}");
    }
}

fn turns() -> Turns {
    Turns::new(80)
}

/// Has everybody start who may.
fn start_all(turns: &mut Turns, now: Instant) -> Vec<u64> {
    let started = std::iter::from_fn(|| turns.start(now));
    started.map(|started| started.number).collect()
}

fn start_one(turns: &mut Turns, now: Instant) -> Option<u64> {
    turns.start(now).map(|started| started.number)
}

fn stall(turns: &mut Turns, names: usize, name: impl Fn(usize) -> String) {
    for at in 0..names {
        turns.join(&name(at));
    }
}

#[test]
fn one_domain_leaves_turns_to_others_however_many_names_it_has() {
    let (mut turns, now) = (turns(), Instant::now());
    stall(&mut turns, 1_000, |at| format!("{at}.stalls.example"));
    assert_eq!(start_all(&mut turns, now).len(), 64);

    let receiver = turns.join("receiver.other.example");
    assert_eq!(start_all(&mut turns, now), [receiver.number]);
    turns.end(&receiver, Some(Duration::ZERO));

    // It is known to be fast: no time has to pass before the next one.
    for name in ["a.other.example", "b.other.example"] {
        let ticket = turns.join(name);
        assert_eq!(start_all(&mut turns, now), [ticket.number]);
        turns.end(&ticket, Some(Duration::ZERO));
    }
}

/// More of them come all the time, as many as the scheduler lets through: with fewer sockets they are
/// fewer.
#[test]
fn a_new_domain_is_looked_up_within_a_second_however_many_domains_stall() {
    const STALLS: Duration = Duration::from_secs(5);
    const STEP: Duration = Duration::from_millis(25);
    for (most, every, within) in [(80, 10, SLOW), (8, 80, 3 * SLOW)] {
        let (mut turns, mut now) = (Turns::new(most), Instant::now());
        let mut tickets = HashMap::new();
        let mut running: Vec<(Ticket, Instant, bool)> = Vec::new();
        let mut receiver: Option<(Ticket, Instant)> = None;
        let mut looked_up = 0;
        for step in 0..4_000 {
            let number = if step == 0 {
                200
            } else {
                usize::from(step % every == 0)
            };
            for at in 0..number {
                let ticket = turns.join(&format!("stalls-{step}-{at}.example"));
                tickets.insert(ticket.number, ticket);
            }
            if step % 200 == 7 {
                assert!(receiver.is_none());
                let ticket = turns.join(&format!("receiver-{step}.example"));
                receiver = Some((ticket, now));
            }
            while let Some(started) = turns.start(now) {
                match receiver.take_if(|(ticket, _)| ticket.number == started.number) {
                    Some((ticket, since)) => {
                        assert!(now - since <= within, "{:?} of {most}", now - since);
                        turns.end(&ticket, Some(Duration::ZERO));
                        looked_up += 1;
                    }
                    None => {
                        let ticket = tickets.remove(&started.number).expect("it has joined");
                        running.push((ticket, now, started.is_of_reserve));
                    }
                }
            }
            now += STEP;
            running.retain(|(ticket, since, is_of_reserve)| {
                let time = if *is_of_reserve { SLOW } else { STALLS };
                let goes_on = now - *since < time;
                if !goes_on {
                    turns.end(ticket, Some(time));
                }
                goes_on
            });
        }
        assert_eq!(looked_up, 4_000 / 200);
    }
}

#[test]
fn domains_take_turns() {
    let (mut turns, now) = (Turns::new(3), Instant::now());
    let mut running = turns.join("0.many.example");
    assert_eq!(start_one(&mut turns, now), Some(running.number));
    let many: Vec<_> = (1..4)
        .map(|at| turns.join(&format!("{at}.many.example")))
        .collect();
    let few = turns.join("few.example");
    start_all(&mut turns, now);
    turns.end(&few, None);
    let mut order = Vec::new();
    for _ in 0..2 {
        turns.end(&running, None);
        let Some(next) = start_one(&mut turns, now) else {
            break;
        };
        running = many
            .iter()
            .find(|ticket| ticket.number == next)
            .unwrap()
            .clone();
        order.push(next);
    }
    assert_eq!(order, [many[0].number, many[1].number]);
}

#[test]
fn slow_domains_come_last() {
    let (mut turns, now) = (Turns::new(1), Instant::now());
    let slow = turns.join("slow.example");
    assert_eq!(start_one(&mut turns, now), Some(slow.number));
    let again = turns.join("again.slow.example");
    let other = turns.join("other.example");
    turns.end(&slow, Some(SLOW));
    assert_eq!(start_one(&mut turns, now), Some(other.number));
    turns.end(&other, Some(SLOW / 2));
    assert_eq!(start_one(&mut turns, now), Some(again.number));
}

#[derive(Clone, Debug)]
enum Step {
    Join(u8, u8),
    /// The oldest or the youngest ticket there is, which may wait or run.
    End(bool, Option<u16>),
    Pass(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..6_u8, 0..4_u8).prop_map(|(domain, name)| Step::Join(domain, name)),
        2 => (any::<bool>(), proptest::option::of(0..3_000_u16))
            .prop_map(|(oldest, took)| Step::End(oldest, took)),
        1 => (0..2_000_u16).prop_map(Step::Pass),
    ]
}

/// What is known without being clever.
#[derive(Default)]
struct Model {
    waiting: BTreeMap<u64, Ticket>,
    running: BTreeMap<u64, Ticket>,
}

impl Model {
    fn running_of(&self, domain: &str) -> usize {
        let running = self.running.values();
        running.filter(|ticket| *ticket.domain == *domain).count()
    }
}

proptest! {
    #[test]
    fn the_limits_hold_and_nobody_waits_for_nothing(
        most in 1..12_usize,
        steps in vec(step(), 1..200),
    ) {
        let mut turns = Turns::new(most);
        let (open, reserve) = (turns.open, turns.reserve);
        prop_assert_eq!(open + reserve, most);
        let (mut model, mut now) = (Model::default(), Instant::now());
        for step in steps {
            match step {
                Step::Join(domain, name) => {
                    let ticket = turns.join(&format!("{name}.domain-{domain}.example"));
                    model.waiting.insert(ticket.number, ticket);
                }
                Step::End(oldest, took) => {
                    let tickets = model.waiting.iter().chain(&model.running);
                    let end = match oldest {
                        true => tickets.min_by_key(|(number, _)| **number),
                        false => tickets.max_by_key(|(number, _)| **number),
                    };
                    if let Some((&number, ticket)) = end {
                        let took = took.map(|ms| Duration::from_millis(ms.into()));
                        let is_running = model.running.contains_key(&number);
                        turns.end(ticket, took.filter(|_| is_running));
                        model.waiting.remove(&number);
                        model.running.remove(&number);
                    }
                }
                Step::Pass(ms) => now += Duration::from_millis(ms.into()),
            }
            loop {
                let before = model.running.len();
                let Some(Started { number, is_of_reserve }) = turns.start(now) else { break };
                prop_assert_eq!(is_of_reserve, before >= open);
                let ticket = model.waiting.remove(&number).expect("it has waited");
                let domain = &ticket.domain;
                let is_slow = |domain: &str| turns.is_slow.get(domain) == Some(&true);
                prop_assert!(before < open + reserve);
                if before >= open {
                    prop_assert_eq!(model.running_of(domain), 0);
                    prop_assert!(!is_slow(domain));
                } else {
                    for other in model.waiting.values().map(|ticket| &ticket.domain) {
                        let key = |domain: &str| (is_slow(domain), model.running_of(domain));
                        prop_assert!(key(domain) <= key(other));
                    }
                }
                let mut same = model.waiting.values().filter(|other| other.domain == *domain);
                prop_assert!(same.all(|other| other.number > number), "in their order");
                model.running.insert(number, ticket);
            }
            let running = model.running.len();
            prop_assert_eq!(turns.running, running);
            if !model.waiting.is_empty() {
                prop_assert!(running >= open, "a turn is free");
            }
            for ticket in model.waiting.values() {
                let is_idle = model.running_of(&ticket.domain) == 0;
                let may = match turns.is_slow.get(&ticket.domain) {
                    Some(false) => running < open + reserve,
                    Some(true) => false,
                    None => {
                        running < open + reserve.div_ceil(2) && turns.next_reserve(now).is_none()
                    }
                };
                prop_assert!(!(is_idle && may), "the reserve has room for it");
            }
        }
        for ticket in model.waiting.values().chain(model.running.values()) {
            turns.end(ticket, None);
        }
        prop_assert!(turns.domains.is_empty() && turns.running == 0);
    }
}
