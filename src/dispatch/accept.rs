//! How a delivery gets to where it is safe: a sink, the outbox, or memory where the outbox fails.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::future::BoxFuture;
use tokio::{
    runtime::Handle,
    time::{Instant, Sleep, sleep},
};

use super::{
    core::Core,
    hub::RuntimeLink,
    insert::{Awaited, insert_together},
    scheduler::Source,
    store::{Job, Which},
};
use crate::{
    delivery::Delivery,
    error::BoxError,
    event::{EventKind, FailReason},
    outbox::{Lease, OutboxFuture},
};

/// A user's service that takes deliveries and delivers them by itself. Its panics are errors.
pub(super) type Sink = dyn Fn(Delivery) -> BoxFuture<'static, Result<(), BoxError>> + Send + Sync;

/// A delivery that has to wait for the outbox. Resolves when it is as safe as it gets.
pub(crate) struct AcceptFuture {
    core: Arc<Core>,
    sink: Option<Arc<Sink>>,
    delivery: Delivery,
    state: State,
    /// Set once it had to be waited for.
    deadline: Option<Pin<Box<Sleep>>>,
}

enum State {
    /// Nobody was asked yet.
    New,
    HandingOver(BoxFuture<'static, Result<(), BoxError>>),
    /// An outbox in memory that does not answer at once.
    Asked(Which, OutboxFuture<Vec<Option<Lease>>>),
    /// A durable outbox.
    Grouped(Awaited),
    Done,
}

impl AcceptFuture {
    /// Hands a delivery to the outbox; `None` when there is nothing to wait for.
    pub(super) fn begin(
        core: &Arc<Core>,
        sink: Option<&Arc<Sink>>,
        delivery: Delivery,
        cx: &mut Context<'_>,
    ) -> Option<Self> {
        let mut accepting = Self {
            core: Arc::clone(core),
            sink: sink.cloned(),
            delivery,
            state: State::New,
            deadline: None,
        };
        match Pin::new(&mut accepting).poll(cx) {
            Poll::Ready(()) => None,
            Poll::Pending => Some(accepting),
        }
    }

    fn ask(&self) -> State {
        let core = &self.core;
        if let Some(sink) = &self.sink {
            return State::HandingOver(sink(self.delivery.clone()));
        }
        let Some(link) = core.enter() else {
            tracing::error!("a webhook needs a Tokio runtime to be delivered in");
            self.delivery.end(EventKind::Abandoned);
            return State::Done;
        };
        let given = core.store(Which::Given);
        if !given.limits.is_durable() {
            return self.ask_memory(&link, Which::Given);
        }
        if !given.takes(&self.delivery) {
            return self.fall_back(&"the payload is too large for the outbox".into());
        }
        State::Grouped(insert_together(core, &link, &self.delivery, Instant::now()))
    }

    /// An outbox in memory. What it gets is leased at once: it is in memory anyway.
    fn ask_memory(&self, link: &Arc<RuntimeLink>, which: Which) -> State {
        let core = &self.core;
        if core.is_stopped() {
            // Nobody would deliver it any more.
            self.delivery.end(EventKind::Abandoned);
            return State::Done;
        }
        let store = core.store(which);
        let new = match store.to_new(&self.delivery, true) {
            Ok(new) => new,
            Err(error) => return self.failed(&error, which),
        };
        let mut asked = Arc::clone(&store.outbox).insert(vec![new]);
        let mut nobody = Context::from_waker(std::task::Waker::noop());
        match asked.as_mut().poll(&mut nobody) {
            Poll::Ready(answer) => self.answered(link, which, answer),
            Poll::Pending => State::Asked(which, asked),
        }
    }

    fn answered(
        &self,
        link: &Arc<RuntimeLink>,
        which: Which,
        answer: Result<Vec<Option<Lease>>, BoxError>,
    ) -> State {
        match answer {
            Ok(leases) => {
                let durability = self.core.store(which).limits.durability;
                self.delivery.report(EventKind::Queued { durability });
                let is_waiting = leases.iter().any(Option::is_none);
                let leases = leases.into_iter().flatten();
                let jobs = leases.map(|lease| Job::new(self.delivery.clone(), lease, which));
                self.core.arrive(link, jobs, Source::Call);
                if is_waiting {
                    self.core.hub().given.take_run(self.delivery.id());
                    self.core.fetch_soon(self.core.hub(), which, Instant::now());
                }
                State::Done
            }
            Err(error) => self.failed(&error, which),
        }
    }

    fn failed(&self, error: &BoxError, which: Which) -> State {
        match which {
            Which::Given => self.fall_back(error),
            // It is dropped, and reports that.
            Which::Fallback => State::Done,
        }
    }

    /// The outbox did not take it: it is delivered from memory.
    fn fall_back(&self, error: &BoxError) -> State {
        let delivery = &self.delivery;
        tracing::error!(
            id = %delivery.id(), endpoint = ?delivery.endpoint(), %error,
            "the outbox did not take a delivery: it is made from memory, and lost with the process"
        );
        delivery.report(EventKind::OutboxFailed);
        if self.core.is_stopped() {
            delivery.end(EventKind::Abandoned);
            return State::Done;
        }
        match self.core.enter() {
            Some(link) => {
                self.core.end_run(&link, delivery.id(), None);
                self.ask_memory(&link, Which::Fallback)
            }
            None => State::Done,
        }
    }

    fn handed_over(&self, answer: Result<(), BoxError>) -> State {
        match answer {
            Ok(()) => {
                // The service may keep it, and with it its reservation.
                self.delivery.settle();
                self.delivery.report(EventKind::HandedOver);
            }
            Err(error) => {
                let delivery = &self.delivery;
                tracing::error!(id = %delivery.id(), %error, "the sink did not take a delivery");
                delivery.report(EventKind::OutboxFailed);
                delivery.end(EventKind::Failed(FailReason::OutboxFailed));
            }
        }
        State::Done
    }

    /// The outbox may take so long. Without a runtime no timer can be set: it takes as long as it
    /// takes.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.deadline.is_none() && Handle::try_current().is_err() {
            return Poll::Pending;
        }
        let timeout = self.core.accept_timeout;
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::pin(sleep(timeout)));
        deadline.as_mut().poll(cx)
    }
}

impl Future for AcceptFuture {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            this.state = match &mut this.state {
                State::New => this.ask(),
                State::HandingOver(answer) => match answer.as_mut().poll(cx) {
                    Poll::Ready(answer) => this.handed_over(answer),
                    Poll::Pending => {
                        ready!(this.poll_deadline(cx));
                        this.handed_over(Err("it took too long".into()))
                    }
                },
                State::Asked(which, asked) => {
                    let which = *which;
                    match asked.as_mut().poll(cx) {
                        Poll::Ready(answer) => match this.core.enter() {
                            Some(link) => this.answered(&link, which, answer),
                            None => State::Done,
                        },
                        Poll::Pending => {
                            ready!(this.poll_deadline(cx));
                            this.failed(&"it took too long".into(), which)
                        }
                    }
                }
                State::Grouped(awaited) => match Pin::new(&mut awaited.answer).poll(cx) {
                    Poll::Ready(Ok(Ok(()))) => State::Done,
                    Poll::Ready(Ok(Err(error))) => {
                        this.core.away.has_failed(awaited.since);
                        this.fall_back(&error)
                    }
                    // The runtime in which it was to be written has ended, or is about to: then this may be
                    // dropped with it.
                    Poll::Ready(Err(_gone)) => {
                        this.state = State::New;
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    Poll::Pending => {
                        ready!(this.poll_deadline(cx));
                        if let State::Grouped(awaited) = &this.state {
                            awaited.withdraw();
                            this.core.away.has_failed(awaited.since);
                        }
                        this.fall_back(&"it took too long".into())
                    }
                },
                State::Done => return Poll::Ready(()),
            };
        }
    }
}

/// Nobody knows what becomes of it: its runtime has ended, say. What was promised an answer gets one.
impl Drop for AcceptFuture {
    fn drop(&mut self) {
        if matches!(self.state, State::Done) {
            return;
        }
        if let Some(link) = self.core.enter() {
            self.core.hand_back_run(&link, self.delivery.id());
        }
    }
}
