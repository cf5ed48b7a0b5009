//! Tasks that run attempts, one after the other.

mod ending;
mod unsent;

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{task::coop::consume_budget, time::Instant};
use tracing::Instrument;

use super::{
    attempt_span::AttemptSpan,
    core::{Core, wake},
    hub::{Idle, RuntimeLink, Stop},
};
use crate::{
    attempt::{AttemptStart, Timer},
    delivery::Delivery,
    event::{AttemptError, Outcome},
};

/// A task that runs attempts, one after the other. The future of an attempt takes some KiB: a new
/// task for each would have them allocated and freed again and again.
struct Worker {
    core: Arc<Core>,
    link: Arc<RuntimeLink>,
    number: u64,
    /// It is counted as coming: nobody else is started until it has asked for a job.
    is_coming: bool,
}

/// The right to run one attempt. Dropped before the attempt has ended, as its runtime ends or its
/// time is over, it is given back, and what it was given for is due again.
struct Permit<'w> {
    worker: &'w Worker,
    number: u64,
    delivery: Delivery,
    attempt: u32,
    has_ended: bool,
}

/// A permit's number, and what is to be attempted.
type NextAttempt = (u64, Delivery, u32);

/// Idle workers that are kept for a runtime: as many as one host's attempts, by default.
const MOST_IDLE: usize = 64;

/// Starts a worker, which counts as coming.
pub(super) fn spawn(core: &Arc<Core>, number: u64, link: &Arc<RuntimeLink>) {
    let worker = Worker {
        core: Arc::clone(core),
        link: Arc::clone(link),
        number,
        is_coming: true,
    };
    let task = link.handle.spawn(worker.run());
    // It may have ended already: then nobody is to be cut off.
    if let Some(entry) = core.hub().workers.get_mut(&number) {
        *entry = Some(task.abort_handle());
    }
}

impl Worker {
    async fn run(mut self) {
        let mut timer = Timer::default();
        while let Some(started) = poll_fn(|cx| self.poll_next(cx)).await {
            let mut next = Some(Permit::new(&self, started));
            while let Some(permit) = next {
                next = permit.attempt(&mut timer).await;
                // There may always be one.
                consume_budget().await;
            }
        }
    }

    /// `None` when the worker is to end.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<NextAttempt>> {
        let mut hub = self.core.hub();
        let is_stopped = hub.stop != Stop::No;
        let is_coming = std::mem::take(&mut self.is_coming);
        let Some(runtime) = hub.runtime(self.link.id) else {
            return Poll::Ready(None);
        };
        // It is polled with its own waker, or because it was taken out of the idle ones.
        let idle = &mut runtime.idle;
        match idle.iter().position(|idle| idle.worker == self.number) {
            Some(at) => drop(idle.remove(at)),
            None if is_coming => runtime.coming = runtime.coming.saturating_sub(1),
            None => {}
        }
        if is_stopped {
            return Poll::Ready(None);
        }
        let now = Instant::now();
        let Some(started) = hub.start(self.link.id, now) else {
            return match hub.runtime(self.link.id) {
                Some(runtime) if runtime.idle.len() < MOST_IDLE => {
                    let (worker, waker) = (self.number, cx.waker().clone());
                    runtime.idle.push(Idle { worker, waker });
                    // Whoever takes it out of the idle ones counts it as coming.
                    self.is_coming = true;
                    Poll::Pending
                }
                _ => Poll::Ready(None),
            };
        };
        let bring = hub.bring(self.link.id, now);
        let keepers = hub.keepers_to_wake(Some(self.link.id), now);
        drop(hub);
        self.core.carry_out(bring);
        wake(keepers);
        Poll::Ready(Some(started))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let mut hub = self.core.hub();
        hub.workers.remove(&self.number);
        if let Some(runtime) = hub.runtime(self.link.id) {
            let idle = &mut runtime.idle;
            match idle.iter().position(|idle| idle.worker == self.number) {
                Some(at) => drop(idle.remove(at)),
                None if self.is_coming => runtime.coming = runtime.coming.saturating_sub(1),
                None => {}
            }
        }
        // Its runtime may be ending: what it was to do is somebody else's. And once the dispatcher is
        // to stop, the keepers wait for the last worker.
        let others = match hub.scheduler.can_start(Instant::now()) || hub.stop != Stop::No {
            true => hub.other_keepers(None),
            false => Vec::new(),
        };
        drop(hub);
        wake(others);
        self.core.has_ended_some.notify_waiters();
    }
}

impl<'w> Permit<'w> {
    fn new(worker: &'w Worker, (number, delivery, attempt): NextAttempt) -> Self {
        Self {
            worker,
            number,
            delivery,
            attempt,
            has_ended: false,
        }
    }

    /// Runs the attempt, and gives the one that starts in its place.
    async fn attempt(mut self, timer: &mut Timer) -> Option<Self> {
        let core = &*self.worker.core;
        if let Some(far) = &core.far {
            return self.forward(far).await;
        }
        if self.delivery.endpoint().is_of_polling() {
            return self.keep();
        }
        let span = AttemptSpan::new(&self.delivery, self.attempt);
        let trace_parent = self.delivery.trace_parent();
        let trace_parent = core.propagation.of_attempt(span.get(), trace_parent);
        let begun = AttemptStart::now(self.attempt, trace_parent);
        let outcome = {
            // Pinned where it is made: a wrapper would move it, and it is large.
            let attempting = pin!(core.post.attempt(&self.delivery, begun, timer));
            let attempting = pin!(attempting.instrument(span.get().clone()));
            let outcome = caught(attempting).await;
            outcome.unwrap_or(Outcome::Failed(AttemptError::Panicked))
        };
        let now = Instant::now();
        let took = now - begun.started;
        span.end(outcome);
        self.has_ended = true;
        let (ended, next) = self.worker.end(self.number, outcome, now);
        if let Some((job, failures)) = ended {
            self.worker.conclude(job, begun, outcome, took, failures);
        }
        next.map(|started| Self::new(self.worker, started))
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            let core = &self.worker.core;
            let mut hub = core.hub();
            let now = Instant::now();
            hub.cut_off(self.number, now);
            core.bring(hub, self.worker.link.id, now);
        }
    }
}

/// What a future comes to; `None` when it panics.
async fn caught<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| {
        let poll = AssertUnwindSafe(|| future.as_mut().poll(cx));
        catch_unwind(poll).map_or(Poll::Ready(None), |polled| polled.map(Some))
    })
    .await
}
