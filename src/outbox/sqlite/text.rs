//! What stands in the columns, and what is read out of them. Nothing that is read is trusted.

use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};

use crate::{
    Endpoint, EndpointPolicy,
    event::{AttemptError, Outcome},
};

type Headers = Vec<(HeaderName, HeaderValue)>;

const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// An outcome, in three columns.
pub(super) struct OutcomeColumns {
    pub(super) status: Option<u16>,
    pub(super) retry_after: Option<i64>,
    pub(super) error: Option<&'static str>,
}

const ERRORS: [(AttemptError, &str); 9] = [
    (AttemptError::Resolve, "resolve"),
    (AttemptError::Forbidden, "forbidden"),
    (AttemptError::Connect, "connect"),
    (AttemptError::Tls, "tls"),
    (AttemptError::TimedOut, "timed out"),
    (AttemptError::ConnectionLost, "connection lost"),
    (AttemptError::Client, "client"),
    (AttemptError::Panicked, "panicked"),
    (AttemptError::Unreadable, "unreadable"),
];

pub(super) fn headers_to_text(headers: &[(HeaderName, HeaderValue)]) -> String {
    let mut text = String::new();
    for (name, value) in headers {
        text.push_str(name.as_str());
        text.push_str(": ");
        text.extend(percent_encode(value.as_bytes(), ESCAPED));
        text.push('\n');
    }
    text
}

pub(super) fn headers_from_text(text: &str) -> Option<Headers> {
    let header = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        let value: Vec<u8> = percent_decode_str(value).collect();
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_bytes(&value).ok()?))
    };
    text.lines().map(header).collect()
}

/// Reads it only: whether it may be sent to is judged before each attempt.
pub(super) fn endpoint_from_text(text: &str) -> Option<Endpoint> {
    EndpointPolicy::public()
        .with_insecure_http()
        .with_insecure_private_networks()
        .check(text)
        .ok()
}

pub(super) fn status_from(number: i64) -> Option<StatusCode> {
    StatusCode::from_u16(u16::try_from(number).ok()?).ok()
}

impl From<Outcome> for OutcomeColumns {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Answered {
                status,
                retry_after,
            } => Self {
                status: Some(status.as_u16()),
                retry_after: retry_after
                    .map(|after| i64::try_from(after.as_secs()).unwrap_or(i64::MAX)),
                error: None,
            },
            Outcome::Failed(error) => Self {
                status: None,
                retry_after: None,
                error: Some(text_of(error)),
            },
        }
    }
}

pub(super) fn outcome_from(
    status: Option<i64>,
    retry_after: Option<i64>,
    error: Option<&str>,
) -> Outcome {
    match status.and_then(status_from) {
        Some(status) => Outcome::Answered {
            status,
            retry_after: retry_after
                .and_then(|after| u64::try_from(after).ok())
                .map(Duration::from_secs),
        },
        None => {
            let known = ERRORS.iter().find(|(_, text)| Some(*text) == error);
            Outcome::Failed(known.map_or(AttemptError::Client, |(error, _)| *error))
        }
    }
}

fn text_of(error: AttemptError) -> &'static str {
    let known = ERRORS.iter().find(|(known, _)| *known == error);
    known.map_or("client", |(_, text)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_as_they_were() {
        let headers: Headers = [
            ("content-type", &b"text/plain; charset=utf-8"[..]),
            ("content-language", b""),
            ("x-odd", b"100% \xff\xc3\xa9\ttab: "),
        ]
        .into_iter()
        .map(|(name, value)| {
            let value = HeaderValue::from_bytes(value).unwrap();
            (HeaderName::from_static(name), value)
        })
        .collect();
        let text = headers_to_text(&headers);
        assert!(text.starts_with("content-type: text/plain; charset=utf-8\n"));
        assert!(text.is_ascii());
        assert_eq!(headers_from_text(&text).unwrap(), headers);
        assert_eq!(headers_from_text("").unwrap(), []);
    }

    #[test]
    fn headers_that_could_not_be_sent_are_not_read() {
        for text in ["no colon", "a b: c", "a: %0d%0ab: c", "a: %00", ": x"] {
            assert_eq!(headers_from_text(text), None, "{text:?}");
        }
    }

    #[test]
    fn every_outcome_comes_back() {
        let answered = |status: u16, retry_after: Option<u64>| Outcome::Answered {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: retry_after.map(Duration::from_secs),
        };
        let failed = ERRORS.map(|(error, _)| Outcome::Failed(error));
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

    #[test]
    fn an_endpoint_is_read_and_not_judged() {
        for text in ["https://example.com/a?b=c", "http://127.0.0.1:81/"] {
            assert_eq!(endpoint_from_text(text).unwrap().to_url_string(), text);
        }
        for text in [
            "",
            "ftp://example.com/",
            "https://a@example.com/",
            "https://a b/",
        ] {
            assert!(endpoint_from_text(text).is_none(), "{text:?}");
        }
    }
}
