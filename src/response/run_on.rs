use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::{Either, select};
use tokio::{runtime::Handle, time::timeout};

use super::PendingWebhook;
use crate::{admission::Cut, dispatch::AcceptFuture, event::FailReason};

/// What happens to a request that asked for a webhook when its caller leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disconnect {
    /// It runs on for a while: the caller asked for a webhook because it may not be able to wait.
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

    /// The webhook of a response that is not complete.
    fn pending(self: Pin<&mut Self>) -> Option<&mut PendingWebhook>;

    /// The caller has left. Where the payload is whole, that completes it: what was still to come, such
    /// as trailers, nobody gets.
    fn complete_if_whole(self: Pin<&mut Self>);
}

/// What can run to its end by itself.
pub(crate) trait Runnable: Unfinished + Send + 'static {
    fn poll_finish(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()>;
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
        let polled = poll(self.get_mut());
        self.polling = false;
        polled
    }

    pub(crate) fn get_mut(&mut self) -> Pin<&mut T> {
        self.inner.as_mut().expect(HERE).as_mut()
    }

    /// Nobody waits for it any more: it runs on, as if its caller had left.
    pub(crate) fn leave(&mut self) {
        if let (OnDrop::RunOn(run_on), Some(inner)) = (&self.on_drop, self.inner.take()) {
            run_on(inner);
        }
    }

    /// It is part of something that runs on by itself: dropped, it ends with that.
    pub(crate) fn belongs_to_a_run(&mut self) {
        self.on_drop = OnDrop::Abandon;
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
        if self.polling {
            return inner.as_mut().fail(FailReason::Panicked);
        }
        inner.as_mut().complete_if_whole();
        if !inner.is_unfinished() {
            return;
        }
        match self.on_drop {
            OnDrop::RunOn(run_on) => run_on(inner),
            OnDrop::Fail => inner.as_mut().fail(FailReason::CallerLeft),
            OnDrop::Abandon => drop(inner),
        }
    }
}

/// Outside a runtime it is dropped, and reports itself as abandoned.
fn run_on<T: Runnable>(mut inner: Pin<Box<T>>) {
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    tracing::debug!("the caller has left, the request runs on");
    let (limit, cut) = match inner.as_mut().pending() {
        // One that was promised an answer makes room for nobody.
        Some(pending) if pending.is_promised() => (pending.run_limit(), None),
        Some(pending) => (pending.run_limit(), pending.begin_run()),
        // It is complete, and waits for the outbox only.
        None => (Duration::MAX, None),
    };
    let run = RunOn {
        inner: Some(inner),
        polling: false,
        on_drop: OnDrop::Abandon,
    };
    runtime.spawn(run_within(run, limit, cut));
}

/// Nobody waits for this any more: it has a limit in time, and makes room for others.
async fn run_within<T: Runnable>(mut run: RunOn<T>, limit: Duration, cut: Option<Cut>) {
    let end = {
        let cut_off = pin!(async {
            let is_cut_off = match cut {
                Some(cut) => cut.await.is_ok(),
                None => false,
            };
            if !is_cut_off {
                // It is told no more once it has made its delivery.
                std::future::pending::<()>().await;
            }
        });
        let finish = pin!(poll_fn(|cx| run.poll_with(|inner| inner.poll_finish(cx))));
        match timeout(limit, select(cut_off, finish)).await {
            Ok(Either::Left(_)) => Some(FailReason::NoRoom),
            Ok(Either::Right(_)) => None,
            Err(_elapsed) => Some(FailReason::TimedOut),
        }
    };
    if let Some(reason) = end {
        run.get_mut().complete_if_whole();
        run.get_mut().fail(reason);
    }
}

/// Lets a complete response go on waiting for the outbox, without a caller.
pub(crate) fn wait_on(accept: AcceptFuture) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(accept);
    }
}
