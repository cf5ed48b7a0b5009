//! The error that user-supplied code may return.

use std::{future::Future, panic::AssertUnwindSafe};

use futures_util::{FutureExt, future::BoxFuture};

/// A boxed error from user-supplied code: an outbox, a client, a resolver, a sink.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A call of such code. One that panics has failed.
pub(crate) fn caught<T: Send + 'static>(
    call: impl Future<Output = Result<T, BoxError>> + Send + 'static,
) -> BoxFuture<'static, Result<T, BoxError>> {
    let call = AssertUnwindSafe(call).catch_unwind();
    call.map(|ended| ended.unwrap_or_else(|_| Err("it panicked".into())))
        .boxed()
}
