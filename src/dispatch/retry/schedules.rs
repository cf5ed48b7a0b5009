//! The policies that have a name.

use std::time::Duration;

use http::StatusCode;

use super::RetryPolicy;
use crate::event::Outcome;

/// Cerebrium: "retried up to 3 times with a maximum delay of 5 seconds". The delays double: the second
/// can already be as long as the rule allows.
const CEREBRIUM_DELAYS: [Duration; 2] = [Duration::from_millis(2_500), Duration::from_secs(5)];

/// The schedule that the Standard Webhooks specification recommends.
pub(super) const STANDARD_DELAYS: [Duration; 9] = [
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
pub(super) const PATIENT_DELAYS: [Duration; 5] = [
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
}
