use std::fmt;

use http::HeaderValue;
use uuid::Uuid;

use crate::signature::is_id;

/// The id of one request that asked for a webhook, and of the delivery it leads to.
///
/// It is the request's `X-Request-Id` when that is 1 to 128 of `A-Z a-z 0-9 _ -`, otherwise a
/// fresh UUID (version 7, so that ids grow with time). A `.` is never part of an id: the signed
/// text is `{id}.{timestamp}.{body}`, and it must have one reading.
///
/// The layer puts it into the request's extensions, so that a handler can name the run that it
/// started:
///
/// ```
/// use axum::{Extension, Json, Router, routing::post};
/// use tower_webhook::{RequestId, WebhookLayer};
///
/// async fn run(id: Option<Extension<RequestId>>) -> String {
///     match id {
///         Some(Extension(id)) => format!("run {id}, you will be called back"),
///         None => "run without a webhook".to_owned(),
///     }
/// }
///
/// let app: Router = Router::new().route("/run", post(run)).layer(WebhookLayer::new());
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// Reads an id; `None` when it is empty, too long, or has a character outside
    /// `A-Z a-z 0-9 _ -`.
    #[must_use]
    pub fn parse(id: &str) -> Option<Self> {
        Self::copy_of(id.as_bytes())
    }

    /// A clone of the request's header would keep the buffer of its whole head, which the caller can
    /// make as large as the server lets it.
    pub(crate) fn copy_of(id: &[u8]) -> Option<Self> {
        if !is_id(id) {
            return None;
        }
        HeaderValue::from_bytes(id).ok().map(Self)
    }

    pub(crate) fn fresh() -> Self {
        let mut text = Uuid::encode_buffer();
        let text = Uuid::now_v7().hyphenated().encode_lower(&mut text);
        Self(HeaderValue::from_str(text).expect("a UUID is visible ASCII"))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().expect("an id is visible ASCII")
    }

    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn it_does_not_keep_the_head_that_it_was_in() {
        let head = Bytes::from(b"run-1\r\nx-more: and so on".to_vec());
        let value = HeaderValue::from_maybe_shared(head.slice(..5)).unwrap();
        let id = RequestId::copy_of(value.as_bytes()).unwrap();
        drop(value);
        assert_eq!(id.as_str(), "run-1");
        assert!(head.is_unique());
    }

    #[test]
    fn keeps_what_is_plain_and_short() {
        for id in ["a", "run_1-B", &"x".repeat(128)] {
            assert_eq!(RequestId::parse(id).unwrap().as_str(), id);
        }
        for id in ["", "a.b", "a b", "é", "a\n", &"x".repeat(129)] {
            assert_eq!(RequestId::parse(id), None, "{id:?}");
        }
    }

    #[test]
    fn a_fresh_id_is_one_that_would_be_kept() {
        let id = RequestId::fresh();
        assert_eq!(RequestId::parse(id.as_str()), Some(id.clone()));
        assert_ne!(id, RequestId::fresh());
    }
}
