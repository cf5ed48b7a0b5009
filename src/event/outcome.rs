use std::{fmt, time::Duration};

use http::StatusCode;

/// How one attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The endpoint answered, whatever it said.
    Answered {
        /// Its status.
        status: StatusCode,
        /// Its `Retry-After`, when it was a number of seconds or a date to come.
        retry_after: Option<Duration>,
    },
    /// There was no complete answer.
    Failed(AttemptError),
}

/// Why an attempt had no complete answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttemptError {
    /// The endpoint's name could not be resolved.
    Resolve,
    /// The endpoint, or the address its name now resolves to, is not permitted.
    Forbidden,
    /// No connection could be opened.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The attempt's time was over.
    TimedOut,
    /// The connection ended before the answer did, or the answer was not HTTP.
    ConnectionLost,
    /// The client failed in a way of its own.
    Client,
    /// The client panicked.
    Panicked,
    /// What the outbox wrote down cannot be read any more: its secret's key is gone, or its
    /// file was changed. Nothing was sent.
    Unreadable,
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
            Self::Tls => "the TLS handshake failed",
            Self::TimedOut => "timed out",
            Self::ConnectionLost => "the connection was lost",
            Self::Client => "the client failed",
            Self::Panicked => "the client panicked",
            Self::Unreadable => "the stored delivery cannot be read",
        })
    }
}

impl std::error::Error for AttemptError {}
