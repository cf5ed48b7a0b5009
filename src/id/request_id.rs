use std::{fmt, sync::Arc};

use super::DeliveryId;

/// The id of one request that asked for a webhook.
///
/// It is the request's `X-Request-Id` when that is 1 to 128 of `A-Z a-z 0-9 _ -`, otherwise the
/// text of its [`DeliveryId`]. Callers choose it, and may use one for several calls: it says which
/// call a webhook belongs to, and is no key for deliveries. A `.` is never part of an id: the signed
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
pub struct RequestId(Text);

/// A text of one length is always the same kind.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Text {
    Short { bytes: [u8; SHORT], len: u8 },
    Long(Arc<str>),
}

/// Most ids are UUIDs, or shorter.
const SHORT: usize = DeliveryId::TEXT_LEN;

const MAX_LEN: usize = 128;

impl RequestId {
    /// Reads an id; `None` when it is empty, too long, or has a character outside
    /// `A-Z a-z 0-9 _ -`.
    #[must_use]
    pub fn parse(id: &str) -> Option<Self> {
        Self::copy_of(id.as_bytes())
    }

    /// Copies the id out of the head that it came in, which the caller can make as large as the
    /// server lets it.
    pub(crate) fn copy_of(id: &[u8]) -> Option<Self> {
        if !is_id(id) {
            return None;
        }
        let mut bytes = [0; SHORT];
        Some(Self(match bytes.get_mut(..id.len()) {
            Some(short) => {
                short.copy_from_slice(id);
                let len = id.len() as u8;
                Text::Short { bytes, len }
            }
            None => Text::Long(str::from_utf8(id).ok()?.into()),
        }))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::Short { .. } => {
                str::from_utf8(self.as_bytes()).expect("it was made of a whole text")
            }
            Text::Long(text) => text,
        }
    }

    /// The same, without a look at each byte.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Text::Short { bytes, len } => &bytes[..usize::from(*len)],
            Text::Long(text) => text.as_bytes(),
        }
    }
}

/// Whether this is an id that can be signed: 1 to 128 of `A-Z a-z 0-9 _ -`.
///
/// A `.` would let one signature stand for two different (id, timestamp, body).
pub(crate) fn is_id(id: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=MAX_LEN).contains(&id.len()) && id.iter().all(allowed)
}

impl From<DeliveryId> for RequestId {
    fn from(id: DeliveryId) -> Self {
        let mut bytes = [0; SHORT];
        let len = id.encode(&mut bytes).len() as u8;
        Self(Text::Short { bytes, len })
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
    use super::*;

    #[test]
    fn keeps_what_is_plain_and_short() {
        let lengths = [SHORT, SHORT + 1, 128].map(|len| "x".repeat(len));
        for id in ["a", "run_1-B"]
            .into_iter()
            .chain(lengths.iter().map(|id| &**id))
        {
            assert_eq!(RequestId::parse(id).unwrap().as_str(), id);
        }
        for id in ["", "a.b", "a b", "é", "a\n", &"x".repeat(129)] {
            assert_eq!(RequestId::parse(id), None, "{id:?}");
        }
    }

    #[test]
    fn the_text_of_a_delivery_id_is_one_that_would_be_kept() {
        let delivery = DeliveryId::fresh();
        let id = RequestId::from(delivery);
        assert_eq!(RequestId::parse(&delivery.to_string()), Some(id));
    }
}
