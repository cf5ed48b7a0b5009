//! Failure notices: what the endpoint of a webhook gets whose response never becomes a delivery.

use http::{HeaderName, HeaderValue, header::CONTENT_TYPE};

use crate::{delivery::Payload, event::FailReason, id::RequestId};

pub(super) const HEADERS: [(HeaderName, HeaderValue); 1] = [(
    CONTENT_TYPE,
    HeaderValue::from_static("application/problem+json"),
)];

/// A problem (RFC 9457). Its words are static, and an id needs no escaping.
pub(super) fn payload(reason: FailReason, run_id: &RequestId) -> Payload {
    let name = reason.name();
    let run_id = run_id.as_str();
    let text = format!(
        r#"{{"type":"urn:tower-webhook:failure:{name}","title":"{reason}","run_id":"{run_id}"}}"#
    );
    bytes::Bytes::from(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_notice_is_a_problem_in_json() {
        let id = RequestId::parse("run-1").unwrap();
        for &reason in FailReason::ALL {
            let payload = payload(reason, &id).to_bytes();
            let json: serde_json::Value = serde_json::from_slice(&payload).unwrap();
            let name = reason.name();
            assert_eq!(json["type"], format!("urn:tower-webhook:failure:{name}"));
            assert_eq!(json["title"], reason.to_string());
            assert_eq!(json["run_id"], "run-1");
        }
    }
}
