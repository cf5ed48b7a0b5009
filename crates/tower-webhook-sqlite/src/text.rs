//! What stands in the columns of an attempt, and what is read out of them.

use std::{fmt::Write, time::Duration};

use http::StatusCode;
use tower_webhook::{
    event::{AttemptError, Outcome},
    outbox::AttemptRecord,
};

use crate::clock::{from_ms, to_ms};

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

/// All attempts of a delivery in one column.
pub(crate) fn attempts_to_text(attempts: &[AttemptRecord]) -> String {
    let mut text = String::new();
    for record in attempts {
        let outcome = OutcomeColumns::from(record.outcome);
        let took = i64::try_from(record.took.as_micros()).unwrap_or(i64::MAX);
        let status = outcome.status.map(i64::from);
        let numbers = [
            Some(i64::from(record.attempt)),
            Some(to_ms(record.at)),
            Some(took),
            status,
            outcome.retry_after,
        ];
        for number in numbers {
            match number {
                Some(number) => write!(text, "{number} ").expect("a text takes it"),
                None => text.push_str("- "),
            }
        }
        text.push_str(outcome.error.unwrap_or("-"));
        text.push('\n');
    }
    text
}

/// What is no attempt is left out.
pub(crate) fn attempts_from(text: &str) -> Vec<AttemptRecord> {
    text.lines().filter_map(attempt_from).collect()
}

fn attempt_from(line: &str) -> Option<AttemptRecord> {
    let fields: Vec<&str> = line.split(' ').collect();
    let &[attempt, at, took, status, retry_after, error] = &fields[..] else {
        return None;
    };
    let number = |text: &str| text.parse::<i64>().ok();
    let error = (error != "-").then_some(error);
    Some(AttemptRecord::new(
        attempt.parse().ok()?,
        from_ms(number(at)?),
        Duration::from_micros(took.parse().ok()?),
        outcome_from(number(status), number(retry_after), error),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_come_back_from_one_text() {
        let refused = StatusCode::from_u16(503).unwrap();
        let outcomes = [
            Outcome::Failed(AttemptError::TimedOut),
            Outcome::answered(refused, Some(Duration::from_secs(7))),
            Outcome::answered(StatusCode::OK, None),
        ];
        let attempts: Vec<_> = (1..)
            .zip(outcomes)
            .map(|(attempt, outcome)| {
                let took = Duration::from_micros(1_234_567);
                AttemptRecord::new(attempt, from_ms(1_700_000_000_123), took, outcome)
            })
            .collect();
        let text = attempts_to_text(&attempts);
        assert_eq!(attempts_from(&text), attempts);
        let odd = format!("odd\n1 2\n- - - - - -\n{text}");
        assert_eq!(attempts_from(&odd), attempts);
        assert_eq!(attempts_from(""), []);
    }

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
