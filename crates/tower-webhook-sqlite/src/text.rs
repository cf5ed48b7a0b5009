//! What stands in the columns of an outcome, and what is read out of them.

use std::time::Duration;

use http::StatusCode;
use tower_webhook::event::{AttemptError, Outcome};

/// An outcome, in three columns.
pub(crate) struct OutcomeColumns {
    pub(crate) status: Option<u16>,
    pub(crate) retry_after: Option<i64>,
    pub(crate) error: Option<&'static str>,
}

impl From<Outcome> for OutcomeColumns {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Answered {
                status,
                retry_after,
                ..
            } => Self {
                status: Some(status.as_u16()),
                retry_after: retry_after
                    .map(|after| i64::try_from(after.as_secs()).unwrap_or(i64::MAX)),
                error: None,
            },
            Outcome::Failed(error) => Self {
                status: None,
                retry_after: None,
                error: Some(error.name()),
            },
        }
    }
}

pub(crate) fn outcome_from(
    status: Option<i64>,
    retry_after: Option<i64>,
    error: Option<&str>,
) -> Outcome {
    let status = status.and_then(|status| u16::try_from(status).ok());
    match status.and_then(|status| StatusCode::from_u16(status).ok()) {
        Some(status) => {
            let retry_after = retry_after.and_then(|after| u64::try_from(after).ok());
            Outcome::answered(status, retry_after.map(Duration::from_secs))
        }
        None => {
            let known = error.and_then(AttemptError::from_name);
            Outcome::Failed(known.unwrap_or(AttemptError::Client))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_comes_back() {
        let answered = |status: u16, retry_after: Option<u64>| {
            let status = StatusCode::from_u16(status).unwrap();
            Outcome::answered(status, retry_after.map(Duration::from_secs))
        };
        let failed = AttemptError::ALL
            .iter()
            .map(|error| Outcome::Failed(*error));
        let outcomes = [
            answered(200, None),
            answered(999, Some(0)),
            answered(503, Some(7)),
        ];
        for outcome in outcomes.into_iter().chain(failed) {
            let columns = OutcomeColumns::from(outcome);
            let status = columns.status.map(i64::from);
            let read = outcome_from(status, columns.retry_after, columns.error);
            assert_eq!(read, outcome);
        }
        let unknown = outcome_from(Some(7), None, Some("from the future"));
        assert_eq!(unknown, Outcome::Failed(AttemptError::Client));
    }
}
