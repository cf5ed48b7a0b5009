//! Messages to the outbox's thread: one queue for each kind of call, so that no kind waits for another.

use std::{
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::sync::{
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    oneshot,
};
use tower_webhook::{
    DeliveryId, Payload,
    outbox::{
        DeliveryFilter, DeliveryRecord, DueDeliveries, Lease, NewDelivery, Page, SettleOutcome,
        Settlement, Want,
    },
};

use crate::{PostgresOutboxError, PostgresOutboxErrorKind};

/// A request and the channel for its response.
#[derive(Debug)]
pub(crate) struct Asked<Q, A> {
    pub(crate) question: Q,
    pub(crate) since: Instant,
    reply: oneshot::Sender<Result<A, PostgresOutboxError>>,
}

/// Deliveries, or runs.
#[derive(Debug)]
pub(crate) enum Batch {
    Deliveries(Vec<NewDelivery>),
    Runs(Vec<NewDelivery>),
}

pub(crate) type Insert = Asked<Batch, Vec<Option<Lease>>>;
pub(crate) type Fetch = Asked<Want, DueDeliveries>;
pub(crate) type Settle = Asked<Vec<Settlement>, Vec<SettleOutcome>>;
pub(crate) type Renew = Asked<Vec<Lease>, Vec<Lease>>;

/// Administrative calls, and close.
#[derive(Debug)]
pub(crate) enum Errand {
    List(Asked<(DeliveryFilter, Page), Vec<DeliveryRecord>>),
    OldestDue(Asked<(), Option<Duration>>),
    Payload(Asked<DeliveryId, Option<Payload>>),
    Redeliver(Asked<DeliveryFilter, usize>),
    Cancel(Asked<DeliveryFilter, usize>),
    Close(Asked<(), ()>),
}

/// The sending ends of the queues.
#[derive(Debug)]
pub(crate) struct Senders {
    pub(crate) insert: UnboundedSender<Insert>,
    pub(crate) fetch: UnboundedSender<Fetch>,
    pub(crate) settle: UnboundedSender<Settle>,
    pub(crate) renew: UnboundedSender<Renew>,
    pub(crate) errand: UnboundedSender<Errand>,
}

/// The receiving ends, owned by the thread.
#[derive(Debug)]
pub(crate) struct Receivers {
    pub(crate) insert: UnboundedReceiver<Insert>,
    pub(crate) fetch: UnboundedReceiver<Fetch>,
    pub(crate) settle: UnboundedReceiver<Settle>,
    pub(crate) renew: UnboundedReceiver<Renew>,
    pub(crate) errand: UnboundedReceiver<Errand>,
}

pub(crate) fn queues() -> (Senders, Receivers) {
    let (insert, inserts) = unbounded_channel();
    let (fetch, fetches) = unbounded_channel();
    let (settle, settles) = unbounded_channel();
    let (renew, renews) = unbounded_channel();
    let (errand, errands) = unbounded_channel();
    let senders = Senders {
        insert,
        fetch,
        settle,
        renew,
        errand,
    };
    let receivers = Receivers {
        insert: inserts,
        fetch: fetches,
        settle: settles,
        renew: renews,
        errand: errands,
    };
    (senders, receivers)
}

impl<Q, A> Asked<Q, A> {
    /// A request, and where its response comes.
    pub(crate) fn new(question: Q) -> (Self, oneshot::Receiver<Result<A, PostgresOutboxError>>) {
        let (reply, answer) = oneshot::channel();
        let asked = Self {
            question,
            since: Instant::now(),
            reply,
        };
        (asked, answer)
    }

    /// Sends the response; `false` if the caller no longer waits.
    pub(crate) fn tell(self, answer: Result<A, PostgresOutboxError>) -> bool {
        self.reply.send(answer).is_ok()
    }

    /// Moves something out of the request.
    pub(crate) fn take<T>(mut self, out: impl FnOnce(&mut Q) -> T) -> (Self, T) {
        let taken = out(&mut self.question);
        (self, taken)
    }

    /// Whether the caller no longer waits.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    /// Resolves once the caller no longer waits.
    async fn abandoned(&mut self) {
        self.reply.closed().await;
    }
}

impl Errand {
    pub(crate) fn is_abandoned(&self) -> bool {
        match self {
            Self::List(call) => call.is_abandoned(),
            Self::OldestDue(call) => call.is_abandoned(),
            Self::Payload(call) => call.is_abandoned(),
            Self::Redeliver(call) | Self::Cancel(call) => call.is_abandoned(),
            Self::Close(call) => call.is_abandoned(),
        }
    }

    pub(crate) async fn abandoned(&mut self) {
        match self {
            Self::List(call) => call.abandoned().await,
            Self::OldestDue(call) => call.abandoned().await,
            Self::Payload(call) => call.abandoned().await,
            Self::Redeliver(call) | Self::Cancel(call) => call.abandoned().await,
            Self::Close(call) => call.abandoned().await,
        }
    }

    pub(crate) fn fail(self, error: PostgresOutboxError) {
        let _ = match self {
            Self::List(call) => call.tell(Err(error)),
            Self::OldestDue(call) => call.tell(Err(error)),
            Self::Payload(call) => call.tell(Err(error)),
            Self::Redeliver(call) | Self::Cancel(call) => call.tell(Err(error)),
            Self::Close(call) => call.tell(Err(error)),
        };
    }
}

/// The thread and its queues. Dropping it joins the thread, which finishes queued work and releases its
/// leases.
#[derive(Debug)]
pub(crate) struct Thread {
    senders: Option<Senders>,
    handle: Option<JoinHandle<()>>,
}

impl Thread {
    pub(crate) fn new(senders: Senders, handle: JoinHandle<()>) -> Self {
        Self {
            senders: Some(senders),
            handle: Some(handle),
        }
    }

    /// Sends a request to one of the queues and awaits the response.
    pub(crate) async fn ask<T, Q, A>(
        &self,
        queue: impl FnOnce(&Senders) -> &UnboundedSender<T>,
        wrap: impl FnOnce(Asked<Q, A>) -> T,
        question: Q,
    ) -> Result<A, PostgresOutboxError> {
        let gone = PostgresOutboxErrorKind::Gone;
        let (asked, answer) = Asked::new(question);
        let queue = queue(self.senders.as_ref().ok_or(gone)?);
        queue.send(wrap(asked)).map_err(|_| gone)?;
        answer.await.map_err(|_| gone)?
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        drop(self.senders.take());
        if let Some(handle) = self.handle.take() {
            // The thread has caught and logged its own panic.
            let _ = handle.join();
        }
    }
}
