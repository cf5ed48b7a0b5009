//! How a delivery is written, for people and for programs.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tower_webhook::{
    event::Outcome,
    outbox::{AttemptRecord, DeliveryRecord},
};

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
        record.host.as_str().to_owned(),
        status,
        record.attempts.len().to_string(),
        record
            .attempts
            .last()
            .map_or_else(|| "-".to_owned(), |last| outcome(last.outcome)),
    ]
}

pub(super) fn outcome(outcome: Outcome) -> String {
    match outcome {
        Outcome::Answered { status, .. } => status.as_u16().to_string(),
        Outcome::Failed(error) => error.name().to_owned(),
    }
}

pub(super) fn time(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

pub(super) fn took(took: Duration) -> String {
    format!("{} ms", took.as_millis())
}

pub(super) fn json(record: &DeliveryRecord) -> Value {
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
