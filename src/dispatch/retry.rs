use std::{
    borrow::Cow,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
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
///
/// With a schedule of its own:
///
/// ```
/// use std::time::Duration;
/// use tower_webhook::{RetryPolicy, event::Outcome};
///
/// // Four attempts: after a second, after a minute, and after another one.
/// let policy = RetryPolicy::builder()
///     .with_delays([Duration::from_secs(1), Duration::from_secs(60)])
///     .with_attempts(4)
///     .with_jitter(0.5)
///     .with_retry_after()
///     .retrying(|outcome| match outcome {
///         Outcome::Failed(_) => true,
///         Outcome::Answered { status, .. } => status.is_server_error(),
///     })
///     .build();
/// ```
///
/// Whatever the policy, a 2xx is a delivery's end, and so are an endpoint that is not permitted and a
/// stored delivery that cannot be read.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    delays: Arc<[Duration]>,
    attempts: u32,
    /// The part of a delay that is left to chance.
    jitter: f64,
    obeys_retry_after: bool,
    retries: Retries,
    seed: Option<u64>,
}

#[derive(Clone)]
struct Retries(Arc<dyn Fn(Outcome) -> bool + Send + Sync>);

/// The policies of a dispatcher: one for all, and those of some hosts.
pub(super) struct RetryPolicies {
    pub(super) of_all: RetryPolicy,
    pub(super) of_host: Option<Box<PolicyOfHost>>,
}

pub(super) type PolicyOfHost = dyn Fn(&str) -> Option<RetryPolicy> + Send + Sync;

/// Builds a [`RetryPolicy`]. Made by [`RetryPolicy::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct RetryPolicyBuilder {
    attempts: Option<u32>,
    policy: RetryPolicy,
}

/// Cerebrium: "retried up to 3 times with a maximum delay of 5 seconds". The delays double: the second
/// can already be as long as the rule allows.
const CEREBRIUM_DELAYS: [Duration; 2] = [Duration::from_millis(2_500), Duration::from_secs(5)];

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

/// A quarter of an hour in all: longer than a deployment takes.
const PATIENT_DELAYS: [Duration; 5] = [
    Duration::from_secs(15),
    Duration::from_secs(45),
    Duration::from_secs(2 * 60),
    Duration::from_secs(4 * 60),
    Duration::from_secs(8 * 60),
];

impl RetryPolicy {
    /// Cerebrium's rule, and the default: three attempts, at most 5 seconds between two.
    ///
    /// | what happened | then |
    /// | --- | --- |
    /// | 2xx | delivered |
    /// | no complete head of an answer in time | try again |
    /// | 404 | try again |
    /// | any other 4xx, 5xx | final |
    /// | 1xx, 3xx (redirects are never followed), 600 and above | try again |
    /// | the endpoint is not permitted (any more) | final |
    ///
    /// The delays are exponential with full jitter: anything up to 2.5 s, then anything up to 5 s.
    #[must_use]
    pub fn cerebrium() -> Self {
        Self::builder()
            .with_delays(CEREBRIUM_DELAYS)
            .with_jitter(1.0)
            .retrying(|outcome| match outcome {
                Outcome::Failed(_) => true,
                Outcome::Answered { status, .. } => {
                    status == StatusCode::NOT_FOUND || !matches!(status.as_u16(), 400..=599)
                }
            })
            .build()
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
        Self::builder()
            .with_delays(STANDARD_DELAYS)
            .with_retry_after()
            .retrying(|outcome| match outcome {
                Outcome::Failed(_) => true,
                Outcome::Answered { status, .. } => status != StatusCode::GONE,
            })
            .build()
    }

    /// For receivers that are deployed during the day: six attempts over a quarter of an hour, after
    /// 15 s, 45 s, 2 min, 4 min and 8 min, each up to a tenth sooner.
    ///
    /// Tried again are those that had no complete head of an answer in time, and those that were
    /// answered with 408, 425, 429 or 5xx. A `Retry-After` (seconds, or a date) makes a delay longer, up
    /// to the delay of the next step. Any other answer is final.
    #[must_use]
    pub fn patient() -> Self {
        Self::builder()
            .with_delays(PATIENT_DELAYS)
            .with_jitter(0.1)
            .with_retry_after()
            .retrying(|outcome| match outcome {
                Outcome::Failed(_) => true,
                Outcome::Answered { status, .. } => {
                    matches!(status.as_u16(), 408 | 425 | 429 | 500..=599)
                }
            })
            .build()
    }

    /// A builder: one attempt, and whatever is not a 2xx is tried again once there are
    /// [delays](RetryPolicyBuilder::with_delays).
    pub fn builder() -> RetryPolicyBuilder {
        RetryPolicyBuilder {
            attempts: None,
            policy: Self {
                delays: Arc::default(),
                attempts: 1,
                jitter: 0.0,
                obeys_retry_after: false,
                retries: Retries(Arc::new(|_| true)),
                seed: None,
            },
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
        if is_success(outcome) {
            return Verdict::Delivered;
        }
        if is_final(outcome) || attempt >= self.attempts || !self.retries(outcome) {
            return Verdict::Dead(outcome);
        }
        Verdict::AgainIn(self.delay(id, attempt, outcome))
    }

    fn retries(&self, outcome: Outcome) -> bool {
        let retries = AssertUnwindSafe(|| (self.retries.0)(outcome));
        catch_unwind(retries).unwrap_or_else(|_| {
            tracing::error!(%outcome, "a retry policy panicked");
            false
        })
    }

    /// The time after this attempt.
    fn delay(&self, id: &RequestId, attempt: u32, outcome: Outcome) -> Duration {
        let of_step = |step: u32| {
            let last = self.delays.len().saturating_sub(1);
            let delay = self.delays.get((step as usize).min(last));
            delay.copied().unwrap_or_default()
        };
        let step = attempt.saturating_sub(1);
        let delay = of_step(step);
        let chance = match self.jitter > 0.0 {
            true => self.jitter * self.random(id, attempt),
            false => 0.0,
        };
        let delay = delay.saturating_sub(delay.mul_f64(chance));
        match outcome {
            Outcome::Answered {
                retry_after: Some(asked),
                ..
            } if self.obeys_retry_after => asked.clamp(delay, of_step(step + 1).max(delay)),
            _ => delay,
        }
    }

    /// How many attempts there are at most.
    #[cfg(feature = "openapi")]
    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// How long it is, in all, until a delivery that cannot be made is given up.
    pub(crate) fn time_to_fail(&self, id: &RequestId) -> Duration {
        let failed = Outcome::Failed(AttemptError::Resolve);
        let delays = (1..).map_while(|attempt| match self.verdict(id, attempt, failed) {
            Verdict::AgainIn(delay) => Some(delay),
            _ => None,
        });
        delays.fold(Duration::ZERO, Duration::saturating_add)
    }

    /// From 0 up to 1.
    fn random(&self, id: &RequestId, attempt: u32) -> f64 {
        let Some(seed) = self.seed else {
            return fastrand::f64();
        };
        let mut hasher = DefaultHasher::new();
        (seed, id, attempt).hash(&mut hasher);
        fastrand::Rng::with_seed(hasher.finish()).f64()
    }
}

impl RetryPolicies {
    pub(super) fn of(&self, host: &str) -> Cow<'_, RetryPolicy> {
        let Some(of_host) = &self.of_host else {
            return Cow::Borrowed(&self.of_all);
        };
        let policy = catch_unwind(AssertUnwindSafe(|| of_host(host)));
        let policy = policy.unwrap_or_else(|_| {
            tracing::error!("the function that gives a host's retry policy panicked");
            None
        });
        policy.map_or(Cow::Borrowed(&self.of_all), Cow::Owned)
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::cerebrium()
    }
}

impl RetryPolicyBuilder {
    /// The times between two attempts. Default: none, which is one attempt.
    pub fn with_delays(mut self, delays: impl IntoIterator<Item = Duration>) -> Self {
        self.policy.delays = delays.into_iter().collect();
        self
    }

    /// The number of attempts, at least one. Default: one more than there are
    /// [delays](Self::with_delays). Where it is larger, the last delay is that of all further attempts.
    pub fn with_attempts(mut self, number: u32) -> Self {
        self.attempts = Some(number.max(1));
        self
    }

    /// The part of each delay that is left to chance, from 0 to 1. Default: 0, none of it.
    ///
    /// With 0.1 a delay is up to a tenth shorter. With 1 it is anything up to its whole ("full jitter"):
    /// deliveries that fail together are not tried again together.
    pub fn with_jitter(mut self, part: f64) -> Self {
        self.policy.jitter = if part > 0.0 { part.min(1.0) } else { 0.0 };
        self
    }

    /// Has the `Retry-After` of an answer (seconds, or a date) make a delay longer, up to the delay of
    /// the next step. Default: it does not count.
    pub fn with_retry_after(mut self) -> Self {
        self.policy.obeys_retry_after = true;
        self
    }

    /// Which outcomes are tried again, while there are attempts left; all others are final. Default: all
    /// but 2xx.
    ///
    /// The function is not asked about a 2xx, an endpoint that is not permitted, or a stored delivery that
    /// cannot be read: those are final. It runs on the way of deliveries: it must not block. Where it
    /// panics, that is logged, and the outcome is final.
    pub fn retrying(mut self, retries: impl Fn(Outcome) -> bool + Send + Sync + 'static) -> Self {
        self.policy.retries = Retries(Arc::new(retries));
        self
    }

    /// The policy.
    #[must_use]
    pub fn build(self) -> RetryPolicy {
        let by_delays = u32::try_from(self.policy.delays.len()).unwrap_or(u32::MAX);
        RetryPolicy {
            attempts: self.attempts.unwrap_or(by_delays.saturating_add(1)),
            ..self.policy
        }
    }
}

impl fmt::Debug for Retries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Retries(..)")
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
}
