//! When a delivery is tried again.

mod builder;
mod schedules;
#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

pub use self::builder::RetryPolicyBuilder;
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

impl RetryPolicy {
    /// The same rule with other times between two attempts, and one attempt more than there are of
    /// them. They are exact: nothing of them is left to chance. What is tried again, and whether
    /// `Retry-After` counts, stays.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_webhook::RetryPolicy;
    ///
    /// let delays = [5, 60, 600].map(Duration::from_secs);
    /// let policy = RetryPolicy::cerebrium().with_delays(delays);
    /// ```
    #[must_use]
    pub fn with_delays(mut self, delays: impl IntoIterator<Item = Duration>) -> Self {
        self.delays = delays.into_iter().collect();
        let number = u32::try_from(self.delays.len()).unwrap_or(u32::MAX);
        self.attempts = number.saturating_add(1);
        self.jitter = 0.0;
        self
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

impl fmt::Debug for Retries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Retries(..)")
    }
}

fn is_final(outcome: Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Failed(
            AttemptError::Forbidden | AttemptError::Unreadable | AttemptError::TooLarge
        )
    )
}

fn is_success(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Answered { status, .. } if status.is_success())
}
