use std::{error::Error, fmt, sync::Arc};

/// Why the JetStream outbox could not be set up, or did not take or give something.
///
/// It shows no address, no credentials and nothing of a delivery; its [`source`](Error::source) is the
/// client's own error where there is one, and may. The sentences may change; to tell errors apart in
/// code, use [`kind`](Self::kind).
#[derive(Clone)]
pub struct JetStreamOutboxError {
    kind: JetStreamOutboxErrorKind,
    detail: Option<Arc<str>>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// What a [`JetStreamOutboxError`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JetStreamOutboxErrorKind {
    /// Neither a key nor
    /// [`with_insecure_plaintext`](crate::JetStreamOutboxBuilder::with_insecure_plaintext) was given.
    NoKey,
    /// The oldest delivery in the stream is sealed with a key that was not given. See
    /// [`with_lost_keys`](crate::JetStreamOutboxBuilder::with_lost_keys).
    UnknownKey,
    /// The [name](crate::JetStreamOutboxBuilder::with_name) has other characters than
    /// `A-Z a-z 0-9 _ -`, or none, or more than 64.
    InvalidName,
    /// The address is not one of a NATS server.
    InvalidAddress,
    /// The credentials or certificates cannot be read.
    Credentials,
    /// No server could be reached in time.
    Unreachable,
    /// The server refused the credentials.
    Unauthorized,
    /// The server is older than 2.12.3.
    ServerTooOld,
    /// JetStream is not enabled, for the server or for the account.
    NoJetStream,
    /// The server's `max_payload` is too small for the
    /// [largest payload](crate::JetStreamOutboxBuilder::with_max_payload).
    PayloadLimit,
    /// A stream is there whose settings do not fit, or it cannot be created as it has to be.
    UnfitStream,
    /// The consumer is there with settings that do not fit, or it cannot be created as it has to be.
    UnfitConsumer,
    /// The delivery is larger than a message may be.
    TooLarge,
    /// There was no answer in time.
    TimedOut,
    /// A limit of the server, the account or a stream is reached.
    Full,
    /// The server refused, with the reason in the [source](Error::source).
    Refused,
    /// The outbox's thread has ended, after a panic.
    Gone,
    /// Something else.
    Other,
}

impl JetStreamOutboxError {
    pub(crate) fn new(kind: JetStreamOutboxErrorKind) -> Self {
        Self {
            kind,
            detail: None,
            source: None,
        }
    }

    pub(crate) fn with_detail(mut self, detail: impl Into<Arc<str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub(crate) fn with_source(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// What it is about.
    #[must_use]
    pub fn kind(&self) -> JetStreamOutboxErrorKind {
        self.kind
    }

    fn sentence(&self) -> &'static str {
        use JetStreamOutboxErrorKind as Kind;
        match self.kind {
            Kind::NoKey => {
                "the JetStream outbox needs a key to seal deliveries with, or to be told to keep them in the clear"
            }
            Kind::UnknownKey => {
                "deliveries wait in the JetStream outbox that are sealed with a key that was not given"
            }
            Kind::InvalidName => {
                "the name of the JetStream outbox has characters that are not allowed"
            }
            Kind::InvalidAddress => "the address is not one of a NATS server",
            Kind::Credentials => {
                "the credentials or certificates for the NATS server cannot be read"
            }
            Kind::Unreachable => "no NATS server could be reached in time",
            Kind::Unauthorized => "the NATS server refused the credentials",
            Kind::ServerTooOld => "the NATS server is older than 2.12.3",
            Kind::NoJetStream => "the NATS server or account has no JetStream",
            Kind::PayloadLimit => "the NATS server's `max_payload` is too small",
            Kind::UnfitStream => "a stream of the JetStream outbox does not fit",
            Kind::UnfitConsumer => "the consumer of the JetStream outbox does not fit",
            Kind::TooLarge => "the delivery is too large for a message",
            Kind::TimedOut => "the NATS server did not answer in time",
            Kind::Full => "the NATS server has no room for more",
            Kind::Refused => "the NATS server refused",
            Kind::Gone => "the thread of the JetStream outbox has ended",
            Kind::Other => "the JetStream outbox failed",
        }
    }
}

impl From<JetStreamOutboxErrorKind> for JetStreamOutboxError {
    fn from(kind: JetStreamOutboxErrorKind) -> Self {
        Self::new(kind)
    }
}

impl fmt::Display for JetStreamOutboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())?;
        match &self.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for JetStreamOutboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tuple = f.debug_tuple("JetStreamOutboxError");
        tuple.field(&self.kind);
        if let Some(detail) = &self.detail {
            tuple.field(detail);
        }
        tuple.finish()
    }
}

impl Error for JetStreamOutboxError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.source {
            Some(source) => Some(&**source),
            None => None,
        }
    }
}
