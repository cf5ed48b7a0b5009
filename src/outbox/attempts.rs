//! Attempts as a text, for outboxes that keep them in one column.

use std::{
    fmt::Write,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::StatusCode;

use super::AttemptRecord;
use crate::event::{AttemptError, Outcome};

impl AttemptRecord {
    /// Attempts as a text with a line for each, which [`from_text`](Self::from_text) reads: number, when in
    /// milliseconds since 1970, how long in microseconds, status, `Retry-After` in seconds, and the error's
    /// [name](AttemptError::name), with `-` for what is not there. Texts can be joined. The form stays as it
    /// is.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use tower_webhook::{event::{AttemptError, Outcome}, outbox::AttemptRecord};
    ///
    /// let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    /// let outcome = Outcome::Failed(AttemptError::TimedOut);
    /// let attempts = [AttemptRecord::new(1, at, Duration::from_secs(15), outcome)];
    /// let text = AttemptRecord::to_text(&attempts);
    /// assert_eq!(text, "1 1800000000000 15000000 - - timed-out\n");
    /// assert_eq!(AttemptRecord::from_text(&text), attempts);
    /// ```
    #[must_use]
    pub fn to_text(attempts: &[Self]) -> String {
        let mut text = String::new();
        for record in attempts {
            let (status, retry_after, error) = match record.outcome {
                Outcome::Answered {
                    status,
                    retry_after,
                } => (Some(status.as_u16().into()), retry_after, None),
                Outcome::Failed(error) => (None, None, Some(error.name())),
            };
            let since = record.at.duration_since(UNIX_EPOCH).unwrap_or_default();
            let numbers = [
                Some(record.attempt.into()),
                Some(number(since.as_millis())),
                Some(number(record.took.as_micros())),
                status,
                retry_after.map(|after| after.as_secs()),
            ];
            for number in numbers {
                match number {
                    Some(number) => write!(text, "{number} ").expect("a text takes it"),
                    None => text.push_str("- "),
                }
            }
            text.push_str(error.unwrap_or("-"));
            text.push('\n');
        }
        text
    }

    /// The attempts of a [text](Self::to_text). What is none is left out; an error whose name is not known
    /// is one of the [client](AttemptError::Client).
    #[must_use]
    pub fn from_text(text: &str) -> Vec<Self> {
        text.lines().filter_map(Self::from_line).collect()
    }

    fn from_line(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split(' ').collect();
        let &[attempt, at, took, status, retry_after, error] = &fields[..] else {
            return None;
        };
        let since = Duration::from_millis(at.parse().ok()?);
        let status = status.parse().ok();
        let outcome = match status.and_then(|status| StatusCode::from_u16(status).ok()) {
            Some(status) => {
                let retry_after = retry_after.parse().ok();
                Outcome::answered(status, retry_after.map(Duration::from_secs))
            }
            None => {
                let known = AttemptError::from_name(error);
                Outcome::Failed(known.unwrap_or(AttemptError::Client))
            }
        };
        Some(Self::new(
            attempt.parse().ok()?,
            UNIX_EPOCH
                .checked_add(since)
                .unwrap_or(SystemTime::UNIX_EPOCH),
            Duration::from_micros(took.parse().ok()?),
            outcome,
        ))
    }
}

/// Times that people measure are far from the end of it.
fn number(long: u128) -> u64 {
    u64::try_from(long).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, retry_after: Option<u64>) -> Outcome {
        let status = StatusCode::from_u16(status).unwrap();
        Outcome::answered(status, retry_after.map(Duration::from_secs))
    }

    #[test]
    fn every_outcome_comes_back() {
        let failed = AttemptError::ALL.iter().copied().map(Outcome::Failed);
        let answers = [
            answered(200, None),
            answered(999, Some(0)),
            answered(503, Some(7)),
        ];
        let at = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        let took = Duration::from_micros(1_234_567);
        let attempts: Vec<_> = (1..)
            .zip(answers.into_iter().chain(failed))
            .map(|(attempt, outcome)| AttemptRecord::new(attempt, at, took, outcome))
            .collect();
        let text = AttemptRecord::to_text(&attempts);
        assert_eq!(AttemptRecord::from_text(&text), attempts);
        let odd = format!("odd\n1 2\n- - - - - -\n{text}");
        assert_eq!(AttemptRecord::from_text(&odd), attempts);
        assert_eq!(AttemptRecord::from_text(""), []);
        let [unknown] = AttemptRecord::from_text("1 0 0 7 - from-the-future")[..] else {
            panic!("one line is one attempt")
        };
        assert_eq!(unknown.outcome, Outcome::Failed(AttemptError::Client));
    }

    #[test]
    fn times_that_are_no_times_do_no_harm() {
        let before = UNIX_EPOCH - Duration::from_secs(1);
        let odd = AttemptRecord::new(1, before, Duration::MAX, answered(200, Some(u64::MAX)));
        let text = AttemptRecord::to_text(&[odd]);
        let [read] = AttemptRecord::from_text(&text)[..] else {
            panic!("it can be read")
        };
        assert_eq!(read.at, UNIX_EPOCH);
        let late = format!("1 {} 0 200 - -", u64::MAX);
        assert_eq!(AttemptRecord::from_text(&late).len(), 1);
    }
}
