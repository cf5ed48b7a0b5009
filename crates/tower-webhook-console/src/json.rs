//! Records as the page reads them. Times are milliseconds since 1970.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use serde_json::{Value, json};
use tower_webhook::{
    Payload,
    event::Outcome,
    outbox::{AttemptRecord, DeliveryRecord},
};

use crate::token::hex;

/// So much of a payload is shown.
const PREVIEW: usize = 32 * 1024;

/// A line of the list.
pub(crate) fn line(record: &DeliveryRecord) -> Value {
    json!({
        "id": record.id.to_string(),
        "request_id": record.request_id.as_str(),
        "state": record.state.name(),
        "host": record.host.as_str(),
        "status": record.status.map(|status| status.as_u16()),
        "failure": record.failure.map(|reason| reason.name()),
        "size": record.payload_len,
        "accepted_at": millis(record.accepted_at),
        "attempts": record.attempts.len(),
        "last": record.attempts.last().map(attempt),
    })
}

/// All that is known of one.
pub(crate) fn whole(
    record: &DeliveryRecord,
    next_at: Option<SystemTime>,
    sent: Option<&HeaderMap>,
) -> Value {
    let mut value = line(record);
    value["failure_text"] = json!(record.failure.map(|reason| reason.to_string()));
    value["timeline"] = record.attempts.iter().map(attempt).collect();
    value["next_at"] = json!(next_at.map(millis));
    value["headers"] = json!(sent.map(headers));
    value
}

fn attempt(attempt: &AttemptRecord) -> Value {
    let (status, error, text, retry_after) = match attempt.outcome {
        Outcome::Answered {
            status,
            retry_after,
            ..
        } => (Some(status.as_u16()), None, None, retry_after),
        Outcome::Failed(error) => (None, Some(error.name()), Some(error.to_string()), None),
    };
    json!({
        "attempt": attempt.attempt,
        "at": millis(attempt.at),
        "took": attempt.took.as_secs_f64() * 1_000.0,
        "status": status,
        "error": error,
        "text": text,
        "retry_after": retry_after.map(|time| time.as_secs()),
    })
}

fn headers(headers: &HeaderMap) -> Value {
    let mut headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())))
        .collect();
    headers.sort_unstable();
    json!(headers)
}

/// The beginning of a payload: its bytes in hex, and as text where it is UTF-8.
pub(crate) fn preview(payload: &Payload) -> Value {
    let mut shown = Vec::new();
    for segment in payload.segments() {
        let room = PREVIEW - shown.len();
        shown.extend_from_slice(&segment[..segment.len().min(room)]);
    }
    let text = match str::from_utf8(&shown) {
        Ok(text) => Some(text),
        // The cut may go through a character.
        Err(error) if error.error_len().is_none() && shown.len() < payload.len() => {
            str::from_utf8(&shown[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    json!({
        "len": payload.len(),
        "shown": shown.len(),
        "text": text,
        "hex": hex(&shown),
    })
}

pub(crate) fn millis(time: SystemTime) -> u64 {
    let since: Duration = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_is_text_where_it_can_be() {
        let short = preview(&Payload::from("{\"a\":\"é\"}"));
        assert_eq!(short["text"], "{\"a\":\"é\"}");
        let binary = preview(&bytes::Bytes::from_static(&[0xff, 0, 1]).into());
        assert_eq!(binary["text"], Value::Null);
        assert_eq!(binary["hex"], "ff0001");
    }

    #[test]
    fn a_preview_is_cut_between_two_characters() {
        let text = format!("x{}", "é".repeat(PREVIEW));
        let cut = preview(&bytes::Bytes::from(text).into());
        assert_eq!(cut["shown"], PREVIEW);
        assert_eq!(cut["text"].as_str().unwrap().len(), PREVIEW - 1);
        assert_eq!(cut["len"], 1 + 2 * PREVIEW);
    }
}
