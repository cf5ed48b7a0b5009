use std::fmt;

use bytes::Bytes;

use crate::delivery::Delivery;

/// Everything of a delivery but its payload, as an outbox keeps it: ids, endpoint, secret, status and
/// headers, bound to the payload's hash.
///
/// An outbox keeps the [bytes](Self::bytes) as they are and gives them back with
/// [`from_bytes`](Self::from_bytes). They are made and read by the dispatcher, with the outbox's
/// [`Sealing`](super::Sealing).
#[derive(Clone)]
pub struct Envelope(pub(super) Contents);

#[derive(Clone)]
pub(super) enum Contents {
    /// Never leaves the process.
    Open(Delivery),
    Bytes(Bytes),
}

impl Envelope {
    /// The envelope of these bytes. They are not looked at before the delivery is attempted.
    #[must_use]
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        Self(Contents::Bytes(bytes.into()))
    }

    /// The bytes; `None` where the outbox has said that it stays in memory
    /// ([`Sealing::in_memory`](super::Sealing::in_memory)).
    #[must_use]
    pub fn bytes(&self) -> Option<&Bytes> {
        match &self.0 {
            Contents::Open(_) => None,
            Contents::Bytes(bytes) => Some(bytes),
        }
    }

    /// The name of the key that it is sealed with, which says nothing of the key; `None` where it is
    /// not sealed.
    #[must_use]
    pub fn key_name(&self) -> Option<String> {
        super::codec::key_name(self.bytes()?)
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Envelope(..)")
    }
}
