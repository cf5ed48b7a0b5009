//! A record as JSON. Ids, names and numbers need no escaping.

use std::{
    fmt::Write as _,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    event::Outcome,
    outbox::{AttemptRecord, DeliveryRecord},
};

pub(super) fn of(record: &DeliveryRecord) -> String {
    let (run_id, state) = (record.request_id.as_str(), record.state.name());
    let mut text = format!(r#"{{"run_id":"{run_id}","state":"{state}""#);
    if let Some(failure) = record.failure {
        add(
            &mut text,
            format_args!(r#","failure":"{}""#, failure.name()),
        );
    }
    if let Some(status) = record.status {
        add(
            &mut text,
            format_args!(r#","response_status":{}"#, status.as_u16()),
        );
    }
    text.push_str(r#","attempts":["#);
    for (at, attempt) in record.attempts.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        add_attempt(&mut text, attempt);
    }
    text.push_str("]}");
    text
}

fn add_attempt(text: &mut String, record: &AttemptRecord) {
    let AttemptRecord {
        attempt, at, took, ..
    } = record;
    let (at, took) = (rfc3339(*at), took.as_millis());
    add(
        text,
        format_args!(r#"{{"attempt":{attempt},"at":"{at}","took_ms":{took},"#),
    );
    match record.outcome {
        Outcome::Answered { status, .. } => {
            add(text, format_args!(r#""status":{}}}"#, status.as_u16()));
        }
        Outcome::Failed(error) => add(text, format_args!(r#""error":"{}"}}"#, error.name())),
    }
}

fn add(text: &mut String, more: std::fmt::Arguments<'_>) {
    text.write_fmt(more).expect("a text takes everything");
}

/// In UTC, to the millisecond. A time before 1970 reads as 1970.
fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, of_day) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    let ms = since.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// The date that is so many days after 1970 began: years are counted from March 0000, so that a leap day is
/// the last one of its year.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;

    use super::*;
    use crate::{
        endpoint::Host,
        event::{AttemptError, FailReason},
        id::{DeliveryId, RequestId},
        outbox::DeliveryState,
    };

    #[test]
    fn times_are_those_of_the_calendar() {
        for (secs, text) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_399, "2000-02-28T23:59:59.007Z"),
            (951_782_400, "2000-02-29T00:00:00.007Z"),
            (951_868_800, "2000-03-01T00:00:00.007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.007Z"),
            (253_402_300_799, "9999-12-31T23:59:59.007Z"),
        ] {
            let time = UNIX_EPOCH + Duration::from_secs(secs) + Duration::from_millis(7);
            assert_eq!(rfc3339(time), text);
        }
        assert!(rfc3339(UNIX_EPOCH - Duration::from_secs(1)).starts_with("1970-01-01T00:00:00"));
    }

    #[test]
    fn a_record_is_json_whatever_is_in_it() {
        let id = DeliveryId::fresh();
        let host = Host::from("example.com");
        let mut record = DeliveryRecord::new(id, id.into(), host, None, 7, UNIX_EPOCH);
        record.request_id = RequestId::parse("run-1").unwrap();
        let json = |record: &DeliveryRecord| -> serde_json::Value {
            serde_json::from_str(&of(record)).unwrap()
        };
        for &state in DeliveryState::ALL {
            record.state = state;
            let expected =
                serde_json::json!({"run_id": "run-1", "state": state.name(), "attempts": []});
            assert_eq!(json(&record), expected);
        }
        record.status = Some(StatusCode::CREATED);
        record.failure = Some(FailReason::TimedOut);
        let took = Duration::from_millis(12);
        let outcomes = [
            Outcome::answered(StatusCode::BAD_GATEWAY, None),
            Outcome::Failed(AttemptError::TimedOut),
        ];
        let attempts = (1..).zip(outcomes);
        record.attempts = attempts
            .map(|(attempt, outcome)| AttemptRecord::new(attempt, UNIX_EPOCH, took, outcome))
            .collect();
        let at = "1970-01-01T00:00:00.000Z";
        let expected = serde_json::json!({
            "run_id": "run-1", "state": "failed", "failure": "timed-out", "response_status": 201,
            "attempts": [
                {"attempt": 1, "at": at, "took_ms": 12, "status": 502},
                {"attempt": 2, "at": at, "took_ms": 12, "error": "timed-out"},
            ],
        });
        assert_eq!(json(&record), expected);
    }
}
