use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    runtime::Handle,
    time::{Sleep, sleep},
};

use super::{
    Dispatcher,
    engine::{BoxFuture, Engine},
};
use crate::{
    BoxError, Delivery,
    event::{EventKind, FailReason},
    outbox::{Accepted, Durability},
};

/// A delivery that has to wait for the outbox. Resolves when it is as safe as it gets.
pub(crate) struct Accepting {
    dispatcher: Dispatcher,
    handover: Handover,
}

/// A delivery on its way into the outbox.
///
/// An outbox in memory takes it the first time that this is polled: nothing but the sink's future
/// is boxed for it, and no timer is set.
struct Handover {
    delivery: Delivery,
    state: State,
}

enum State {
    /// The outbox was not asked yet.
    New,
    Asked {
        answer: Answer,
        /// Set once it had to be waited for.
        deadline: Option<Pin<Box<Sleep>>>,
        /// Whether the dispatcher had been shut down before.
        stopped: bool,
    },
    /// The outbox did not take it: it goes to the one in memory.
    FallingBack {
        answer: Answer,
    },
    Done,
}

type Answer = BoxFuture<Result<Accepted, BoxError>>;

impl Accepting {
    /// Hands a delivery to the outbox; `None` when there is nothing to wait for.
    pub(super) fn begin(
        dispatcher: &Dispatcher,
        delivery: Delivery,
        cx: &mut Context<'_>,
    ) -> Option<Self> {
        let mut handover = Handover {
            delivery,
            state: State::New,
        };
        match handover.poll(dispatcher, cx) {
            Poll::Ready(()) => None,
            Poll::Pending => Some(Self {
                dispatcher: dispatcher.clone(),
                handover,
            }),
        }
    }
}

impl Future for Accepting {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self {
            dispatcher,
            handover,
        } = &mut *self;
        handover.poll(dispatcher, cx)
    }
}

impl Handover {
    fn poll(&mut self, dispatcher: &Dispatcher, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let next = match &mut self.state {
                State::New => self.ask(dispatcher),
                State::Asked {
                    answer,
                    deadline,
                    stopped,
                } => {
                    let stopped = *stopped;
                    let accepted = match answer.as_mut().poll(cx) {
                        Poll::Ready(accepted) => accepted,
                        // No timer can be set: it takes as long as it takes.
                        Poll::Pending if deadline.is_none() && Handle::try_current().is_err() => {
                            return Poll::Pending;
                        }
                        Poll::Pending => {
                            let timeout = dispatcher.shared.accept_timeout;
                            let deadline = deadline.get_or_insert_with(|| Box::pin(sleep(timeout)));
                            ready!(deadline.as_mut().poll(cx));
                            Err("it took too long".into())
                        }
                    };
                    self.answered(dispatcher, accepted, stopped)
                }
                State::FallingBack { answer } => {
                    // It is dropped, and reports that, where the process has no memory outbox
                    // either.
                    if let Ok(accepted) = ready!(answer.as_mut().poll(cx)) {
                        dispatcher.queued(&self.delivery, accepted);
                    }
                    State::Done
                }
                State::Done => return Poll::Ready(()),
            };
            self.state = next;
        }
    }

    fn ask(&self, dispatcher: &Dispatcher) -> State {
        let engine = &dispatcher.shared.engine;
        let stopped = engine.is_stopped();
        if !self.has_started(dispatcher, &**engine) {
            return State::Done;
        }
        if let Some(accepted) = engine.begin(&self.delivery) {
            return self.answered(dispatcher, accepted, stopped);
        }
        State::Asked {
            answer: engine.accept(self.delivery.clone()),
            deadline: None,
            stopped,
        }
    }

    /// Starts an engine's worker, unless it runs. Where it cannot, the delivery is given up.
    fn has_started(&self, dispatcher: &Dispatcher, engine: &dyn Engine) -> bool {
        if engine.has_started() {
            return true;
        }
        match Handle::try_current() {
            Ok(runtime) => {
                engine.start(&runtime);
                true
            }
            Err(_) => {
                tracing::error!("a webhook needs a Tokio runtime to be delivered in");
                dispatcher.abandon(&self.delivery);
                false
            }
        }
    }

    /// What the outbox's answer leads to.
    fn answered(
        &self,
        dispatcher: &Dispatcher,
        accepted: Result<Accepted, BoxError>,
        stopped: bool,
    ) -> State {
        let delivery = &self.delivery;
        let engine = &dispatcher.shared.engine;
        match accepted {
            Ok(_) if !engine.delivers() => {
                delivery.settle();
                dispatcher.report(delivery, EventKind::HandedOver);
            }
            // Nobody would deliver it any more.
            Ok(accepted) if stopped && accepted.durability == Durability::Memory => {
                dispatcher.abandon(delivery);
            }
            Ok(accepted) => dispatcher.queued(delivery, accepted),
            Err(error) => {
                let (id, endpoint) = (delivery.id().as_str(), delivery.endpoint());
                tracing::error!(id, ?endpoint, %error, "the outbox did not take a delivery");
                dispatcher.report(delivery, EventKind::OutboxFailed);
                if !engine.delivers() {
                    delivery.settle();
                    let failed = EventKind::Failed(FailReason::OutboxFailed);
                    dispatcher.report(delivery, failed);
                } else if stopped {
                    dispatcher.abandon(delivery);
                } else {
                    return self.fall_back(dispatcher);
                }
            }
        }
        State::Done
    }

    fn fall_back(&self, dispatcher: &Dispatcher) -> State {
        let fallback = &dispatcher.shared.fallback;
        if !self.has_started(dispatcher, &**fallback) {
            return State::Done;
        }
        State::FallingBack {
            answer: fallback.accept(self.delivery.clone()),
        }
    }
}
