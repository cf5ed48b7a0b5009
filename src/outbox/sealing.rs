use std::fmt;
#[cfg(feature = "sealing")]
use std::sync::Arc;

#[cfg(feature = "sealing")]
use super::SealingKey;
use super::{
    Envelope,
    codec::{self, NO_KEY},
    envelope::Contents,
};
use crate::{
    delivery::{Delivery, Payload},
    error::BoxError,
    id::DeliveryId,
};

/// How deliveries are turned into what an outbox keeps. Secrets come with each call, so an outbox
/// that outlives the process has to keep them.
///
/// Cheap to clone.
#[derive(Clone)]
pub struct Sealing(Kind);

#[derive(Clone)]
enum Kind {
    InMemory,
    Plaintext,
    #[cfg(feature = "sealing")]
    Key(Arc<SealingKey>),
}

/// Why a delivery that was kept cannot be sent any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// It is sealed with a key that was not given.
    UnknownKey,
    /// It is not what was written for this delivery and this payload.
    Changed,
}

impl Sealing {
    /// For an outbox that never lets a delivery leave the process, with
    /// [`Durability::Memory`](super::Durability::Memory). Its envelopes have no bytes.
    #[must_use]
    pub fn in_memory() -> Self {
        Self(Kind::InMemory)
    }

    /// Envelopes in the clear: whoever can read the store, or a backup of it, can sign deliveries;
    /// whoever can write it can have anything signed and sent. For trying out.
    #[must_use]
    pub fn insecure_plaintext() -> Self {
        Self(Kind::Plaintext)
    }

    /// Envelopes sealed with this key.
    #[cfg(feature = "sealing")]
    #[must_use]
    pub fn with_key(key: SealingKey) -> Self {
        Self(Kind::Key(Arc::new(key)))
    }

    /// Whether envelopes that are sealed with the key of this name
    /// ([`Envelope::key_name`]) can be opened. `None` stands for those that are not sealed: with a key
    /// they are not trusted. An outbox need not ask: a delivery that cannot be opened becomes a dead
    /// letter. It may, to leave such a delivery to a process that has the key.
    #[must_use]
    pub fn can_open(&self, key_name: Option<&str>) -> bool {
        match (&self.0, key_name) {
            (Kind::InMemory, _) => false,
            (Kind::Plaintext, name) => name.is_none(),
            #[cfg(feature = "sealing")]
            (Kind::Key(key), Some(name)) => key.knows(name),
            #[cfg(feature = "sealing")]
            (Kind::Key(_), None) => false,
        }
    }

    pub(crate) fn is_in_memory(&self) -> bool {
        matches!(self.0, Kind::InMemory)
    }

    pub(crate) fn seal(&self, delivery: &Delivery) -> Result<Envelope, BoxError> {
        Ok(Envelope(match &self.0 {
            Kind::InMemory => Contents::Open(delivery.clone()),
            Kind::Plaintext => {
                Contents::Bytes(codec::put_together(NO_KEY, &codec::encode(delivery)))
            }
            #[cfg(feature = "sealing")]
            Kind::Key(key) => {
                let (name, sealed) = key.seal(&codec::encode(delivery), delivery.id())?;
                Contents::Bytes(codec::put_together(name, &sealed))
            }
        }))
    }

    pub(crate) fn open(
        &self,
        id: DeliveryId,
        envelope: &Envelope,
        payload: &Payload,
    ) -> Result<Delivery, Unreadable> {
        self.open_with(id, envelope, |id, contents| {
            codec::decode(id, contents, payload)
        })
    }

    /// All of a delivery but its payload, which may be kept no more.
    pub(crate) fn open_without_payload(
        &self,
        id: DeliveryId,
        envelope: &Envelope,
    ) -> Result<Delivery, Unreadable> {
        self.open_with(id, envelope, codec::decode_without_payload)
    }

    fn open_with(
        &self,
        id: DeliveryId,
        envelope: &Envelope,
        decode: impl Fn(DeliveryId, &[u8]) -> Option<Delivery>,
    ) -> Result<Delivery, Unreadable> {
        let bytes = match &envelope.0 {
            Contents::Open(delivery) => return Ok(delivery.clone()),
            Contents::Bytes(bytes) => bytes,
        };
        let (name, contents) = codec::take_apart(bytes).ok_or(Unreadable::Changed)?;
        let read = |contents: &[u8]| decode(id, contents).ok_or(Unreadable::Changed);
        match &self.0 {
            Kind::InMemory => Err(Unreadable::Changed),
            Kind::Plaintext if name == NO_KEY => read(contents),
            Kind::Plaintext => Err(Unreadable::UnknownKey),
            #[cfg(feature = "sealing")]
            Kind::Key(key) => match key.open(contents, name, id)? {
                Some(contents) => read(&contents),
                None => Err(Unreadable::Changed),
            },
        }
    }
}

#[cfg(feature = "sealing")]
impl From<SealingKey> for Sealing {
    fn from(key: SealingKey) -> Self {
        Self::with_key(key)
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownKey => "it is sealed with a key that was not given",
            Self::Changed => "it is not what was accepted",
        })
    }
}

impl fmt::Debug for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::InMemory => f.write_str("InMemory"),
            Kind::Plaintext => f.write_str("Plaintext"),
            #[cfg(feature = "sealing")]
            Kind::Key(key) => fmt::Debug::fmt(key, f),
        }
    }
}
