use std::{future::Future, pin::Pin, task::Poll};

use tokio::runtime::Handle;

use crate::{dispatch::AcceptFuture, event::FailReason};

/// What happens to a request that asked for a webhook when its caller leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disconnect {
    /// It runs on: the caller asked for a webhook because it may not be able to wait.
    RunOn,
    /// It ends, as it would without a webhook.
    Cancel,
}

/// Something that a server drops when the caller leaves, and that must run to its end all the same:
/// its `Drop` hands it to the runtime.
pub(crate) struct RunOn<T: Unfinished> {
    /// `None` only once `Drop` has begun.
    inner: Option<Pin<Box<T>>>,
    /// Set while `T` is polled: still set in `Drop`, it says that `T` panicked.
    polling: bool,
    on_drop: OnDrop<T>,
}

enum OnDrop<T> {
    /// Made where `T` is known to be able to finish: `Drop` can ask nothing of it.
    RunOn(fn(Pin<Box<T>>)),
    Fail,
    Abandon,
}

/// What can be left unfinished.
pub(crate) trait Unfinished {
    fn is_unfinished(&self) -> bool;

    /// A response that is complete fails no more: what waits for the outbox goes on waiting.
    fn fail(self: Pin<&mut Self>, reason: FailReason);
}

/// What can run to its end by itself.
pub(crate) trait Runnable: Unfinished + Send + 'static {
    fn finish(alone: RunOn<Self>) -> impl Future<Output = ()> + Send
    where
        Self: Sized;
}

impl<T: Runnable> RunOn<T> {
    pub(crate) fn new(inner: T, disconnect: Disconnect) -> Self {
        Self {
            inner: Some(Box::pin(inner)),
            polling: false,
            on_drop: match disconnect {
                Disconnect::RunOn => OnDrop::RunOn(run_on::<T>),
                Disconnect::Cancel => OnDrop::Fail,
            },
        }
    }
}

impl<T: Unfinished> RunOn<T> {
    pub(crate) fn get(&self) -> &T {
        self.inner.as_ref().expect(HERE)
    }

    pub(crate) fn poll_with<R>(&mut self, poll: impl FnOnce(Pin<&mut T>) -> Poll<R>) -> Poll<R> {
        self.polling = true;
        let polled = poll(self.inner.as_mut().expect(HERE).as_mut());
        self.polling = false;
        polled
    }
}

const HERE: &str = "only drop takes it away";

impl<T: Unfinished> Drop for RunOn<T> {
    fn drop(&mut self) {
        let Some(mut inner) = self.inner.take() else {
            return;
        };
        if !inner.is_unfinished() {
            return;
        }
        match self.on_drop {
            _ if self.polling => inner.as_mut().fail(FailReason::Panicked),
            OnDrop::RunOn(run_on) => run_on(inner),
            OnDrop::Fail => inner.as_mut().fail(FailReason::CallerLeft),
            OnDrop::Abandon => drop(inner),
        }
    }
}

/// Outside a runtime it is dropped, and reports itself as abandoned.
fn run_on<T: Runnable>(inner: Pin<Box<T>>) {
    if let Ok(runtime) = Handle::try_current() {
        tracing::debug!("the caller has left, the request runs on");
        runtime.spawn(T::finish(RunOn {
            inner: Some(inner),
            polling: false,
            on_drop: OnDrop::Abandon,
        }));
    }
}

/// Lets a complete response go on waiting for the outbox, without a caller.
pub(crate) fn wait_on(accept: AcceptFuture) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(accept);
    }
}
