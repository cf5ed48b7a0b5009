use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};

use crate::{endpoint::EndpointError, event::Refusal};

/// Why the layer answers by itself, before the handler runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    EndpointTwice,
    EndpointEmpty,
    EndpointUnreadable,
    EndpointCut,
    Endpoint(EndpointError),
    SecretMissing,
    SecretTwice,
    SecretEmpty,
    SecretTooLong,
    NoRoom(Refusal),
    Loop,
}

/// In seconds: as long as a delivery waits for its next attempt at most.
const TRY_AGAIN_AFTER: HeaderValue = HeaderValue::from_static("5");
/// Where each rule is explained, by its name.
const RULES: &str = "https://github.com/tower-webhook/tower-webhook/blob/main/docs/refusals.md#";
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

impl Problem {
    pub(crate) fn refusal(self) -> Refusal {
        match self {
            Self::NoRoom(refusal) => refusal,
            Self::Loop => Refusal::Loop,
            _ => Refusal::BadRequest,
        }
    }

    /// The answer (RFC 9457). Its words are static: nothing that the caller sent, no address, and
    /// nothing that a name resolves to.
    pub(crate) fn response(self) -> Response<Bytes> {
        let (status, title) = self.status();
        let code = status.as_u16();
        let (rule, detail) = (self.rule(), self.detail());
        let text = format!(
            r#"{{"type":"{RULES}{rule}","title":"{title}","status":{code},"detail":"{detail}"}}"#
        );
        let mut response = Response::new(Bytes::from(text));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, PROBLEM_JSON);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, TRY_AGAIN_AFTER);
        }
        response
    }

    fn status(self) -> (StatusCode, &'static str) {
        match self.refusal() {
            Refusal::BadRequest => (StatusCode::BAD_REQUEST, "Bad Request"),
            Refusal::Loop => (StatusCode::LOOP_DETECTED, "Loop Detected"),
            Refusal::NoRoom
            | Refusal::NoRoomForHost
            | Refusal::NoRoomForCaller
            | Refusal::OutboxAway => (StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
        }
    }

    /// A short name for the rule, which stays as it is.
    fn rule(self) -> &'static str {
        match self {
            Self::EndpointTwice => "endpoint-twice",
            Self::EndpointEmpty => "endpoint-empty",
            Self::EndpointUnreadable => "endpoint-unreadable",
            Self::EndpointCut => "endpoint-not-encoded",
            Self::Endpoint(error) => error.rule(),
            Self::SecretMissing => "secret-missing",
            Self::SecretTwice => "secret-twice",
            Self::SecretEmpty => "secret-empty",
            Self::SecretTooLong => "secret-too-long",
            Self::NoRoom(Refusal::NoRoomForHost) => "no-room-for-host",
            Self::NoRoom(Refusal::NoRoomForCaller) => "no-room-for-caller",
            Self::NoRoom(Refusal::OutboxAway) => "outbox-away",
            Self::NoRoom(_) => "no-room",
            Self::Loop => "loop",
        }
    }

    pub(crate) fn detail(self) -> &'static str {
        match self {
            Self::EndpointTwice => "the endpoint is given more than once",
            Self::EndpointEmpty => "the endpoint is empty",
            Self::EndpointUnreadable => "the endpoint is not UTF-8 text",
            Self::EndpointCut => {
                "the endpoint has a query of its own and is not percent-encoded: it ends at its first `&`"
            }
            Self::Endpoint(error) => error.sentence(),
            Self::SecretMissing => "a secret is required",
            Self::SecretTwice => "the secret is given more than once",
            Self::SecretEmpty => "the secret is empty",
            Self::SecretTooLong => "the secret is longer than 1024 bytes",
            Self::NoRoom(Refusal::NoRoomForHost) => {
                "too many webhooks to this endpoint's host are under way, try again later"
            }
            Self::NoRoom(Refusal::NoRoomForCaller) => {
                "too many webhooks of this caller are under way, try again later"
            }
            Self::NoRoom(Refusal::OutboxAway) => {
                "webhooks cannot be kept safe at this moment, try again later"
            }
            Self::NoRoom(_) => "too many webhooks are under way, try again later",
            Self::Loop => "the request is itself a webhook and asks for another one",
        }
    }
}

impl From<EndpointError> for Problem {
    fn from(error: EndpointError) -> Self {
        Self::Endpoint(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_is_a_problem_in_json_that_says_where_its_rule_is_explained() {
        let rules = include_str!("../../docs/refusals.md");
        let policy = crate::endpoint::EndpointPolicy::public();
        let endpoints = [
            "http://example.com/",
            "example.com",
            "https://10.0.0.1/",
            "https://localhost/",
            "https://intranet/",
            "https://a:b@example.com/",
            "https://example.com:22/",
            "https://exa mple.com/",
            "https://",
        ];
        let endpoints = endpoints.map(|endpoint| policy.check(endpoint).unwrap_err());
        let endpoints = endpoints.map(|error| (Problem::Endpoint(error), 400));
        let others = [
            (Problem::EndpointTwice, 400),
            (Problem::EndpointEmpty, 400),
            (Problem::EndpointUnreadable, 400),
            (Problem::EndpointCut, 400),
            (Problem::SecretMissing, 400),
            (Problem::SecretTwice, 400),
            (Problem::SecretEmpty, 400),
            (Problem::SecretTooLong, 400),
            (Problem::NoRoom(Refusal::NoRoom), 503),
            (Problem::NoRoom(Refusal::NoRoomForHost), 503),
            (Problem::NoRoom(Refusal::NoRoomForCaller), 503),
            (Problem::NoRoom(Refusal::OutboxAway), 503),
            (Problem::Loop, 508),
        ];
        for (problem, status) in endpoints.into_iter().chain(others) {
            let response = problem.response();
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(response.headers()[CONTENT_TYPE], PROBLEM_JSON);
            assert_eq!(response.headers().contains_key(RETRY_AFTER), status == 503);
            let json: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
            assert_eq!(json["status"], status);
            assert_eq!(json["detail"], problem.detail());
            let (_, rule) = json["type"].as_str().unwrap().split_once('#').unwrap();
            let heading = format!("\n## {rule}\n");
            assert!(rules.contains(&heading), "{rule} is not explained");
        }
    }
}
