//! What the streams, their subjects and the consumer are called.

use tower_webhook::DeliveryId;

use crate::{JetStreamOutboxError, JetStreamOutboxErrorKind};

/// The consumer that all processes share.
pub(crate) const CONSUMER: &str = "deliver";

/// The outbox's name: that of its stream, and the beginning of all other names.
#[derive(Clone, Debug)]
pub(crate) struct Name(String);

impl Name {
    pub(crate) fn new(name: &str) -> Result<Self, JetStreamOutboxError> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        match (1..=64).contains(&name.len()) && name.bytes().all(is_allowed) {
            true => Ok(Self(name.to_owned())),
            false => Err(JetStreamOutboxErrorKind::InvalidName.into()),
        }
    }

    /// Deliveries that wait, and those that are leased.
    pub(crate) fn stream(&self) -> String {
        self.0.clone()
    }

    pub(crate) fn subject(&self) -> String {
        format!("{}.due", self.0)
    }

    /// The number of the next attempt, for deliveries that have had one.
    pub(crate) fn attempts_stream(&self) -> String {
        format!("{}-attempts", self.0)
    }

    pub(crate) fn attempts_subjects(&self) -> String {
        format!("{}.attempt.*", self.0)
    }

    pub(crate) fn attempts_subject(&self, id: DeliveryId) -> String {
        format!("{}.attempt.{id}", self.0)
    }

    /// Dead letters.
    pub(crate) fn dead_stream(&self) -> String {
        format!("{}-dead", self.0)
    }

    pub(crate) fn dead_subject(&self) -> String {
        format!("{}.dead", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_token_of_a_subject() {
        for name in ["webhooks", "A-b_9"] {
            assert_eq!(Name::new(name).unwrap().stream(), name);
        }
        for name in ["", "a.b", "a b", "*", ">", "ä", &"x".repeat(65)] {
            let error = Name::new(name).unwrap_err();
            assert_eq!(error.kind(), JetStreamOutboxErrorKind::InvalidName);
        }
    }
}
