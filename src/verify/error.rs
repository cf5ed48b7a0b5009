use std::fmt;

/// Why a delivery was not accepted.
///
/// Only [`kind`](Self::kind) is stable. `Display` is a fixed sentence for the
/// receiver's logs and may change. Neither it nor `Debug` contains any part of
/// the request or of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyError {
    kind: VerifyErrorKind,
}

impl VerifyError {
    /// What was wrong.
    #[must_use]
    pub fn kind(&self) -> VerifyErrorKind {
        self.kind
    }
}

impl From<VerifyErrorKind> for VerifyError {
    fn from(kind: VerifyErrorKind) -> Self {
        Self { kind }
    }
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            VerifyErrorKind::MissingHeader => "a header of the signature is missing",
            VerifyErrorKind::DuplicateHeader => "a header of the signature is given twice",
            VerifyErrorKind::MalformedHeader => "a header of the signature is malformed",
            VerifyErrorKind::TimestampTooOld => "the timestamp is too old",
            VerifyErrorKind::TimestampInFuture => "the timestamp is too far in the future",
            VerifyErrorKind::NoMatch => "no signature matches",
        })
    }
}

impl std::error::Error for VerifyError {}

/// What was wrong with a delivery: see [`VerifyError::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VerifyErrorKind {
    /// The id, the timestamp or the signature is missing; an unsigned delivery
    /// has no signature.
    MissingHeader,
    /// The id, the timestamp or the signature is given more than once.
    DuplicateHeader,
    /// The id has a character that is not allowed, the timestamp is not a
    /// number of seconds, or there is no well-formed signature of a version that
    /// the verifier can check: `v1` where it has a secret, `v1a` where it has a
    /// public key.
    MalformedHeader,
    /// The timestamp is further in the past than the tolerance allows: a replay,
    /// a very slow network, or a wrong clock.
    TimestampTooOld,
    /// The timestamp is further in the future than the tolerance allows: a clock
    /// is wrong.
    TimestampInFuture,
    /// No signature was made over this id, timestamp and body with any of the
    /// secrets or keys.
    NoMatch,
}
