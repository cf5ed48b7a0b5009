use std::{fmt, time::Duration};

use http::StatusCode;

/// How one attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The endpoint answered, whatever it said: status line and headers were complete. What
    /// happened to the answer's body is of no interest.
    #[non_exhaustive]
    Answered {
        /// Its status.
        status: StatusCode,
        /// Its `Retry-After`, when it was a number of seconds or a date to come.
        retry_after: Option<Duration>,
    },
    /// There was no answer.
    Failed(AttemptError),
}

/// Why an attempt had no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttemptError {
    /// The endpoint's name could not be resolved.
    Resolve,
    /// The endpoint, or the address its name now resolves to, is not permitted.
    Forbidden,
    /// No connection could be opened.
    Connect,
    /// Too many attempts waited for an answer of the address that the name is resolved to, and did
    /// so for the time of an attempt: many names lead to one address that does not answer. Nothing
    /// was sent.
    Crowded,
    /// The TLS handshake failed.
    Tls,
    /// The attempt's time was over.
    TimedOut,
    /// The connection ended before the headers of the answer did, or the answer was not HTTP.
    ConnectionLost,
    /// The client failed in a way of its own.
    Client,
    /// The client panicked.
    Panicked,
    /// What the outbox wrote down cannot be read any more: its secret's key is gone, or its
    /// file was changed. Nothing was sent.
    Unreadable,
    /// Its payload is [larger](crate::outbox::Limits::max_payload) than the outbox takes that deliveries
    /// [go on to](crate::dispatch::DispatcherBuilder::with_forwarding). Nothing was sent.
    TooLarge,
}

impl Outcome {
    /// The endpoint answered with this status, and asked for that time until the next attempt.
    #[must_use]
    pub const fn answered(status: StatusCode, retry_after: Option<Duration>) -> Self {
        Self::Answered {
            status,
            retry_after,
        }
    }
}

impl AttemptError {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Resolve,
        Self::Forbidden,
        Self::Connect,
        Self::Crowded,
        Self::Tls,
        Self::TimedOut,
        Self::ConnectionLost,
        Self::Client,
        Self::Panicked,
        Self::Unreadable,
        Self::TooLarge,
    ];

    /// A short name that stays as it is, for outboxes and metrics.
    ///
    /// ```
    /// use tower_webhook::event::AttemptError;
    ///
    /// for &error in AttemptError::ALL {
    ///     assert_eq!(AttemptError::from_name(error.name()), Some(error));
    /// }
    /// ```
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Forbidden => "forbidden",
            Self::Connect => "connect",
            Self::Crowded => "crowded",
            Self::Tls => "tls",
            Self::TimedOut => "timed-out",
            Self::ConnectionLost => "connection-lost",
            Self::Client => "client",
            Self::Panicked => "panicked",
            Self::Unreadable => "unreadable",
            Self::TooLarge => "too-large",
        }
    }

    /// The error of this [`name`](Self::name).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|error| error.name() == name)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered { status, .. } => write!(f, "answered {}", status.as_u16()),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for AttemptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "the name could not be resolved",
            Self::Forbidden => "the endpoint is not permitted",
            Self::Connect => "could not connect",
            Self::Crowded => "too many attempts to one address",
            Self::Tls => "the TLS handshake failed",
            Self::TimedOut => "timed out",
            Self::ConnectionLost => "the connection was lost",
            Self::Client => "the client failed",
            Self::Panicked => "the client panicked",
            Self::Unreadable => "the stored delivery cannot be read",
            Self::TooLarge => "the payload is too large to be forwarded",
        })
    }
}

impl std::error::Error for AttemptError {}
