use http::StatusCode;

use super::{
    schedules::{PATIENT_DELAYS, STANDARD_DELAYS},
    *,
};

fn answered(status: u16) -> Outcome {
    answered_after(status, None)
}

fn answered_after(status: u16, retry_after: Option<u64>) -> Outcome {
    Outcome::Answered {
        status: StatusCode::from_u16(status).unwrap(),
        retry_after: retry_after.map(Duration::from_secs),
    }
}

fn id() -> RequestId {
    RequestId::parse("run-1").unwrap()
}

#[test]
fn cerebrium_judges_every_status() {
    let policy = RetryPolicy::cerebrium();
    for status in 100..=999 {
        let verdict = policy.verdict(&id(), 1, answered(status));
        let as_expected = match status {
            200..=299 => verdict == Verdict::Delivered,
            404 | 100..=199 | 300..=399 | 600.. => matches!(verdict, Verdict::AgainIn(_)),
            _ => verdict == Verdict::Dead(answered(status)),
        };
        assert!(as_expected, "{status}: {verdict:?}");
    }
}

#[test]
fn cerebrium_tries_three_times_with_at_most_five_seconds_between() {
    let policy = RetryPolicy::cerebrium();
    let lost = Outcome::Failed(AttemptError::ConnectionLost);
    for (attempt, most) in [(1, 2_500), (2, 5_000)] {
        for _ in 0..1_000 {
            let Verdict::AgainIn(delay) = policy.verdict(&id(), attempt, lost) else {
                panic!("attempt {attempt} is not the last");
            };
            assert!(delay <= Duration::from_millis(most), "{delay:?}");
        }
    }
    assert_eq!(policy.verdict(&id(), 3, lost), Verdict::Dead(lost));
}

#[test]
fn what_nothing_can_change_is_final() {
    for error in [
        AttemptError::Forbidden,
        AttemptError::Unreadable,
        AttemptError::TooLarge,
    ] {
        let outcome = Outcome::Failed(error);
        for policy in [RetryPolicy::cerebrium(), RetryPolicy::standard_webhooks()] {
            let verdict = policy.verdict(&id(), 1, outcome);
            assert_eq!(verdict, Verdict::Dead(outcome));
        }
    }
}

#[test]
fn a_seed_repeats_the_jitter() {
    let delays = |seed| {
        let policy = RetryPolicy::cerebrium().with_jitter_seed(seed);
        [1, 2].map(|attempt| policy.verdict(&id(), attempt, answered(404)))
    };
    assert_eq!(delays(7), delays(7));
    assert_ne!(delays(7), delays(8));
}

#[test]
fn standard_webhooks_keeps_its_schedule() {
    let policy = RetryPolicy::standard_webhooks();
    let mut waited = Duration::ZERO;
    for (step, delay) in STANDARD_DELAYS.into_iter().enumerate() {
        let verdict = policy.verdict(&id(), step as u32 + 1, answered(500));
        assert_eq!(verdict, Verdict::AgainIn(delay));
        waited += delay;
    }
    let verdict = policy.verdict(&id(), 10, answered(500));
    assert_eq!(verdict, Verdict::Dead(answered(500)));
    assert_eq!(waited.as_secs(), 5 + 35 * 60 + 75 * 3_600);
}

#[test]
fn standard_webhooks_obeys_retry_after_up_to_the_next_step() {
    let policy = RetryPolicy::standard_webhooks();
    for (asked, delay) in [(0, 5), (1, 5), (60, 60), (99_999_999, 300)] {
        let verdict = policy.verdict(&id(), 1, answered_after(503, Some(asked)));
        assert_eq!(verdict, Verdict::AgainIn(Duration::from_secs(delay)));
    }
    let verdict = policy.verdict(&id(), 9, answered_after(503, Some(99_999_999)));
    assert_eq!(verdict, Verdict::AgainIn(STANDARD_DELAYS[8]));
    assert_eq!(
        policy.verdict(&id(), 1, answered(410)),
        Verdict::Dead(answered(410))
    );
}

#[test]
fn patient_waits_for_a_deployment() {
    let policy = RetryPolicy::patient();
    let mut shortest = Duration::ZERO;
    let mut longest = Duration::ZERO;
    for (step, whole) in PATIENT_DELAYS.into_iter().enumerate() {
        let verdict = policy.verdict(&id(), step as u32 + 1, answered(503));
        let Verdict::AgainIn(delay) = verdict else {
            panic!("{verdict:?}");
        };
        assert!((whole.mul_f64(0.9)..=whole).contains(&delay), "{delay:?}");
        shortest += delay;
        longest += whole;
    }
    assert_eq!(longest, Duration::from_secs(15 * 60));
    assert!(shortest >= Duration::from_secs(13 * 60));
    let last = policy.verdict(&id(), 6, answered(503));
    assert_eq!(last, Verdict::Dead(answered(503)));
    for status in 100..=999 {
        let verdict = policy.verdict(&id(), 1, answered(status));
        let as_expected = match status {
            200..=299 => verdict == Verdict::Delivered,
            408 | 425 | 429 | 500..=599 => matches!(verdict, Verdict::AgainIn(_)),
            _ => verdict == Verdict::Dead(answered(status)),
        };
        assert!(as_expected, "{status}: {verdict:?}");
    }
    let refused = Outcome::Failed(AttemptError::Connect);
    assert!(matches!(
        policy.verdict(&id(), 1, refused),
        Verdict::AgainIn(_)
    ));
    let asked = policy.verdict(&id(), 1, answered_after(429, Some(30)));
    assert_eq!(asked, Verdict::AgainIn(Duration::from_secs(30)));
    let too_long = policy.verdict(&id(), 1, answered_after(429, Some(3_600)));
    assert_eq!(too_long, Verdict::AgainIn(PATIENT_DELAYS[1]));
}

#[test]
fn a_schedule_of_ones_own() {
    let second = Duration::from_secs(1);
    let policy = RetryPolicy::builder()
        .with_delays([second, 2 * second])
        .with_attempts(5)
        .retrying(|outcome| outcome == answered(418))
        .build();
    let delays = (1..=5).map(|attempt| policy.verdict(&id(), attempt, answered(418)));
    let again = |seconds| Verdict::AgainIn(seconds * second);
    let expected = [again(1), again(2), again(2), again(2)];
    let last = Verdict::Dead(answered(418));
    assert!(delays.eq(expected.into_iter().chain([last])));
    assert_eq!(
        policy.verdict(&id(), 1, answered(500)),
        Verdict::Dead(answered(500))
    );
    let asked = policy.verdict(&id(), 1, answered_after(418, Some(2)));
    assert_eq!(asked, Verdict::Dead(answered_after(418, Some(2))));

    let once = RetryPolicy::builder().build();
    let verdict = once.verdict(&id(), 1, answered(500));
    assert_eq!(verdict, Verdict::Dead(answered(500)));
    let at_once = RetryPolicy::builder().with_attempts(2).build();
    let verdict = at_once.verdict(&id(), 1, answered(500));
    assert_eq!(verdict, Verdict::AgainIn(Duration::ZERO));
    for odd in [f64::NAN, f64::INFINITY, -1.0, 7.0] {
        let policy = RetryPolicy::builder()
            .with_delays([second])
            .with_jitter(odd)
            .build();
        let verdict = policy.verdict(&id(), 1, answered(500));
        assert!(matches!(verdict, Verdict::AgainIn(delay) if delay <= second));
    }
    let longest = RetryPolicy::builder()
        .with_delays([Duration::MAX; 2])
        .with_jitter(0.5)
        .build();
    assert!(longest.time_to_fail(&id()) > Duration::from_secs(1 << 40));
}

#[test]
fn a_policy_with_other_delays_keeps_its_rule() {
    let delays = [1, 2, 3].map(Duration::from_secs);
    let policy = RetryPolicy::cerebrium().with_delays(delays);
    let lost = Outcome::Failed(AttemptError::ConnectionLost);
    for (attempt, delay) in (1..).zip(delays) {
        let verdict = policy.verdict(&id(), attempt, lost);
        assert_eq!(verdict, Verdict::AgainIn(delay), "{attempt}");
    }
    assert_eq!(policy.verdict(&id(), 4, lost), Verdict::Dead(lost));
    assert_eq!(
        policy.verdict(&id(), 1, answered(500)),
        Verdict::Dead(answered(500))
    );
    let once = policy.with_delays([]);
    assert_eq!(once.verdict(&id(), 1, lost), Verdict::Dead(lost));
}

#[test]
fn what_panics_is_final() {
    let policy = RetryPolicy::builder()
        .with_attempts(2)
        .retrying(|_| panic!("on purpose"))
        .build();
    let verdict = policy.verdict(&id(), 1, answered(500));
    assert_eq!(verdict, Verdict::Dead(answered(500)));
    let policies = RetryPolicies {
        of_all: RetryPolicy::cerebrium(),
        of_host: Some(Box::new(|host| match host {
            "patient.example" => Some(RetryPolicy::patient()),
            "panics.example" => panic!("on purpose"),
            _ => None,
        })),
    };
    let attempts = |host| policies.of(host).attempts;
    assert_eq!(attempts("patient.example"), 6);
    assert_eq!(attempts("panics.example"), 3);
    assert_eq!(attempts("other.example"), 3);
}
