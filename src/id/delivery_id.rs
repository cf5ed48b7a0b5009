#[cfg(feature = "metrics")]
use std::time::Duration;
use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use uuid::{NoContext, Timestamp, Uuid, fmt::Hyphenated};

/// The id of one delivery: a UUID (version 7), unique, and growing with time.
///
/// The crate makes it. It is what receivers should remember (`webhook-id`), what an
/// [outbox](crate::outbox) keeps deliveries by, and what an operator looks at and redelivers. A
/// [`RequestId`](super::RequestId) is the caller's, and several deliveries may have the same one.
///
/// ```
/// use tower_webhook::DeliveryId;
///
/// let id = DeliveryId::fresh();
/// assert_eq!(DeliveryId::parse(&id.to_string()), Some(id));
/// assert_eq!(DeliveryId::from_bytes(id.to_bytes()), id);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId(Uuid);

impl DeliveryId {
    /// The length of the id as text.
    pub(crate) const TEXT_LEN: usize = Hyphenated::LENGTH;

    /// A new one.
    #[must_use]
    pub fn fresh() -> Self {
        Self::at(SystemTime::now())
    }

    /// The twelve bits after the milliseconds are a fraction of one (RFC 9562, 6.2, method 3), so that
    /// ids that are made one after the other are in that order, without a lock over all requests.
    fn at(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let timestamp = Timestamp::from_unix(NoContext, since.as_secs(), since.subsec_nanos());
        let mut bytes = Uuid::new_v7(timestamp).into_bytes();
        let fraction = since.subsec_nanos() % 1_000_000 * 64 / 15_625;
        let [high, low] = (fraction as u16).to_be_bytes();
        bytes[6] = 0x70 | high;
        bytes[7] = low;
        Self(Uuid::from_bytes(bytes))
    }

    /// When it was made; `None` of an id that was not made here, and has no time in it.
    #[cfg(feature = "metrics")]
    pub(crate) fn made_at(self) -> Option<SystemTime> {
        let bytes = self.to_bytes();
        let is_ours = self.0.get_version_num() == 7;
        let [b0, b1, b2, b3, b4, b5, high, low, ..] = bytes;
        let ms = u64::from_be_bytes([0, 0, b0, b1, b2, b3, b4, b5]);
        let fraction = u64::from(u16::from_be_bytes([high & 0x0f, low]));
        let since = Duration::from_millis(ms) + Duration::from_nanos(fraction * 15_625 / 64);
        UNIX_EPOCH.checked_add(since).filter(|_| is_ours)
    }

    /// Reads the id's text; `None` when it is no UUID.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self)
    }

    /// The id of these 16 bytes, as [`to_bytes`](Self::to_bytes) gave them.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The id as 16 bytes, whose order is that of the ids.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.into_bytes()
    }

    /// The id as text, in this buffer.
    pub(crate) fn encode(self, buffer: &mut [u8; Self::TEXT_LEN]) -> &str {
        self.0.hyphenated().encode_lower(buffer)
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn ids_of_different_times_are_in_their_order() {
        let began = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let at = |step: u64| DeliveryId::at(began + Duration::from_nanos(step * 70_007));
        let ids: Vec<_> = (0..1_000).map(at).collect();
        assert!(ids.is_sorted());
        assert!(ids.iter().map(|id| id.to_bytes()).is_sorted());
        assert!(ids.iter().map(|id| id.to_string()).is_sorted());
    }

    #[cfg(feature = "metrics")]
    #[test]
    fn an_id_says_when_it_was_made() {
        let time = UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789);
        let made_at = DeliveryId::at(time).made_at().unwrap();
        let off = time.duration_since(made_at).unwrap();
        assert!(off < Duration::from_micros(1), "{off:?}");
        assert_eq!(DeliveryId::from_bytes([0x41; 16]).made_at(), None);
        assert!(DeliveryId::from_bytes([0x7f; 16]).made_at().is_some());
    }

    #[test]
    fn ids_of_one_moment_differ() {
        let now = SystemTime::now();
        assert_ne!(DeliveryId::at(now), DeliveryId::at(now));
        assert_eq!(DeliveryId::at(now).0.get_version_num(), 7);
    }
}
