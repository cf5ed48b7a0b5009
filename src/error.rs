//! The error that user-supplied code may return.

/// A boxed error from user-supplied code: an outbox, a client, a resolver, a sink.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
