use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use http::StatusCode;

use crate::{
    event::{AttemptError, Outcome},
    id::RequestId,
    outbox::Verdict,
};

/// When a delivery is tried again.
///
/// ```
/// use tower_webhook::{Dispatcher, RetryPolicy};
///
/// let dispatcher = Dispatcher::builder()
///     .with_retry_policy(RetryPolicy::standard_webhooks())
///     .build();
/// ```
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    schedule: Schedule,
    seed: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
enum Schedule {
    Cerebrium,
    StandardWebhooks,
}

/// Cerebrium: "retried up to 3 times with a maximum delay of 5 seconds".
const CEREBRIUM_ATTEMPTS: u32 = 3;
const CEREBRIUM_MAX_DELAY: Duration = Duration::from_secs(5);
/// Doubles with each attempt: the second delay can already be as long as the rule allows.
const CEREBRIUM_FIRST_DELAY: Duration = Duration::from_millis(2_500);

/// The schedule that the Standard Webhooks specification recommends.
const STANDARD_DELAYS: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 3_600),
    Duration::from_secs(5 * 3_600),
    Duration::from_secs(10 * 3_600),
    Duration::from_secs(14 * 3_600),
    Duration::from_secs(20 * 3_600),
    Duration::from_secs(24 * 3_600),
];

impl RetryPolicy {
    /// Cerebrium's rule, and the default: three attempts, at most 5 seconds between two.
    ///
    /// | what happened | then |
    /// | --- | --- |
    /// | 2xx | delivered |
    /// | no complete answer in time | try again |
    /// | 404 | try again |
    /// | any other 4xx, 5xx | final |
    /// | 1xx, 3xx (redirects are never followed), 600 and above | try again |
    /// | the endpoint is not permitted (any more) | final |
    ///
    /// The delays are exponential with full jitter: anything up to 2.5 s, then anything up to 5 s.
    #[must_use]
    pub fn cerebrium() -> Self {
        Self {
            schedule: Schedule::Cerebrium,
            seed: None,
        }
    }

    /// The schedule of the [Standard Webhooks] specification: ten attempts, after 5 s, 5 min,
    /// 30 min, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h.
    ///
    /// Whatever is not a 2xx is tried again, save `410 Gone` and an endpoint that is not
    /// permitted. A `Retry-After` (seconds, or a date) makes a delay longer, up to the delay of the next
    /// step. No jitter: receivers fail at their own times.
    ///
    /// It runs for three days: it wants an outbox that outlives the process.
    ///
    /// [Standard Webhooks]: https://www.standardwebhooks.com
    #[must_use]
    pub fn standard_webhooks() -> Self {
        Self {
            schedule: Schedule::StandardWebhooks,
            seed: None,
        }
    }

    /// Makes the jitter a function of this seed, the request's id and the attempt, so that a
    /// test can repeat it. Default: random.
    #[must_use]
    pub fn with_jitter_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    pub(crate) fn verdict(&self, id: &RequestId, attempt: u32, outcome: Outcome) -> Verdict {
        match self.schedule {
            _ if is_final(outcome) => Verdict::Dead(outcome),
            _ if is_success(outcome) => Verdict::Delivered,
            Schedule::Cerebrium => self.cerebrium_verdict(id, attempt, outcome),
            Schedule::StandardWebhooks => standard_verdict(attempt, outcome),
        }
    }

    /// How long it is, in all, until a delivery that cannot be made is given up.
    pub(crate) fn time_to_fail(&self, id: &RequestId) -> Duration {
        let failed = Outcome::Failed(AttemptError::Resolve);
        let delays = (1..).map_while(|attempt| match self.verdict(id, attempt, failed) {
            Verdict::AgainIn(delay) => Some(delay),
            Verdict::Delivered | Verdict::Dead(_) | Verdict::Released => None,
        });
        delays.sum()
    }

    fn cerebrium_verdict(&self, id: &RequestId, attempt: u32, outcome: Outcome) -> Verdict {
        let again = match outcome {
            Outcome::Failed(_) => true,
            Outcome::Answered { status, .. } => {
                status == StatusCode::NOT_FOUND || !matches!(status.as_u16(), 400..=599)
            }
        };
        if !again || attempt >= CEREBRIUM_ATTEMPTS {
            return Verdict::Dead(outcome);
        }
        let doublings = attempt.saturating_sub(1).min(16);
        let most = (CEREBRIUM_FIRST_DELAY * (1 << doublings)).min(CEREBRIUM_MAX_DELAY);
        Verdict::AgainIn(most.mul_f64(self.jitter(id, attempt)))
    }

    /// From 0 up to 1.
    fn jitter(&self, id: &RequestId, attempt: u32) -> f64 {
        let Some(seed) = self.seed else {
            return fastrand::f64();
        };
        let mut hasher = DefaultHasher::new();
        (seed, id, attempt).hash(&mut hasher);
        fastrand::Rng::with_seed(hasher.finish()).f64()
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::cerebrium()
    }
}

fn is_final(outcome: Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Failed(AttemptError::Forbidden | AttemptError::Unreadable)
    )
}

fn is_success(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Answered { status, .. } if status.is_success())
}

fn standard_verdict(attempt: u32, outcome: Outcome) -> Verdict {
    let step = attempt.saturating_sub(1) as usize;
    let (Some(&delay), false) = (STANDARD_DELAYS.get(step), is_gone(outcome)) else {
        return Verdict::Dead(outcome);
    };
    let asked = match outcome {
        Outcome::Answered { retry_after, .. } => retry_after.unwrap_or_default(),
        Outcome::Failed(_) => Duration::ZERO,
    };
    let longest = STANDARD_DELAYS.get(step + 1).copied().unwrap_or(delay);
    Verdict::AgainIn(asked.clamp(delay, longest))
}

fn is_gone(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Answered { status, .. } if status == StatusCode::GONE)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_forbidden_endpoint_and_an_unreadable_delivery_are_final() {
        for error in [AttemptError::Forbidden, AttemptError::Unreadable] {
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
}
