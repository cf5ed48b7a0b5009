//! How a delivery is written, for people and for programs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tower_webhook::{
    event::Outcome,
    outbox::{AttemptRecord, DeliveryRecord},
};

/// The end of the year 9999.
const LATEST: Duration = Duration::from_secs(253_402_300_799);

pub(super) const HEADINGS: [&str; 7] = [
    "ID", "STATE", "ACCEPTED", "HOST", "STATUS", "ATTEMPTS", "LAST",
];

/// The columns of a table.
pub(super) fn row(record: &DeliveryRecord) -> [String; 7] {
    let status = match (record.status, record.failure) {
        (_, Some(failure)) => failure.name().to_owned(),
        (Some(status), None) => status.as_u16().to_string(),
        (None, None) => "-".to_owned(),
    };
    [
        record.id.to_string(),
        record.state.name().to_owned(),
        time(record.accepted_at),
        host(record),
        status,
        record.attempts.len().to_string(),
        record
            .attempts
            .last()
            .map_or_else(|| "-".to_owned(), |last| outcome(last.outcome)),
    ]
}

/// Whoever can write the outbox can make any text of it: no character of it may control a terminal.
pub(super) fn host(record: &DeliveryRecord) -> String {
    record.host.as_str().escape_default().to_string()
}

/// A payload as a terminal may show it: what would control that is escaped.
pub(super) fn harmless(payload: &[u8]) -> String {
    let mut text = String::with_capacity(payload.len());
    for chunk in payload.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c.is_control() && !matches!(c, '\n' | '\t') {
                true => text.extend(c.escape_default()),
                false => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            text.extend(byte.escape_ascii().map(char::from));
        }
    }
    text
}

pub(super) fn outcome(outcome: Outcome) -> String {
    match outcome {
        Outcome::Answered { status, .. } => status.as_u16().to_string(),
        Outcome::Failed(error) => error.name().to_owned(),
    }
}

/// An outbox that somebody has edited may have any time. Later ones cannot be written.
pub(super) fn time(time: SystemTime) -> String {
    let time = time.min(UNIX_EPOCH + LATEST);
    humantime::format_rfc3339_millis(time).to_string()
}

pub(super) fn took(took: Duration) -> String {
    format!("{} ms", took.as_millis())
}

/// Of one line. JSON leaves some control characters as they are, which a terminal obeys.
pub(super) fn json(record: &DeliveryRecord) -> String {
    let mut text = String::new();
    for c in value(record).to_string().chars() {
        match c.is_control() {
            true => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => text.push(c),
        }
    }
    text
}

fn value(record: &DeliveryRecord) -> Value {
    json!({
        "id": record.id.to_string(),
        "request_id": record.request_id.as_str(),
        "state": record.state.name(),
        "host": record.host.as_str(),
        "response_status": record.status.map(|status| status.as_u16()),
        "failure": record.failure.map(|failure| failure.name()),
        "payload_bytes": record.payload_len,
        "accepted_at": time(record.accepted_at),
        "attempts": record.attempts.iter().map(attempt).collect::<Vec<_>>(),
    })
}

fn attempt(record: &AttemptRecord) -> Value {
    let mut attempt = json!({
        "attempt": record.attempt,
        "at": time(record.at),
        "took_ms": record.took.as_millis(),
    });
    match record.outcome {
        Outcome::Answered { status, .. } => attempt["status"] = status.as_u16().into(),
        Outcome::Failed(error) => attempt["error"] = error.name().into(),
    }
    attempt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_controls_a_terminal_is_escaped_and_text_is_not() {
        let payload = b"\x1b[2J\0\r\n\ta\\\x7f\x9b\xc2\x9b\xc3\xa9\xe2\x82";
        let text = "\\u{1b}[2J\\u{0}\\r\n\ta\\\\u{7f}\\x9b\\u{9b}é\\xe2\\x82";
        assert_eq!(harmless(payload), text);
    }

    #[test]
    fn a_time_that_nobody_can_write_is_the_latest() {
        let late = UNIX_EPOCH + LATEST * 2;
        assert_eq!(time(late), "9999-12-31T23:59:59.000Z");
        assert_eq!(time(UNIX_EPOCH), "1970-01-01T00:00:00.000Z");
    }
}
