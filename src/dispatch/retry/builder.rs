use std::{sync::Arc, time::Duration};

use super::{Retries, RetryPolicy};
use crate::event::Outcome;

/// Builds a [`RetryPolicy`]. Made by [`RetryPolicy::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct RetryPolicyBuilder {
    attempts: Option<u32>,
    policy: RetryPolicy,
}

impl RetryPolicy {
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
