//! How the outbox speaks with its thread: a queue for each kind of call, so that none waits for
//! another kind.

use std::{thread::JoinHandle, time::Instant};

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

/// A question, and who waits for its answer.
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

/// What people ask for, and the end.
#[derive(Debug)]
pub(crate) enum Errand {
    List(Asked<(DeliveryFilter, Page), Vec<DeliveryRecord>>),
    Payload(Asked<DeliveryId, Option<Payload>>),
    Redeliver(Asked<DeliveryFilter, usize>),
    Cancel(Asked<DeliveryFilter, usize>),
    Close(Asked<(), ()>),
}

/// The near ends of the queues.
#[derive(Debug)]
pub(crate) struct Senders {
    pub(crate) insert: UnboundedSender<Insert>,
    pub(crate) fetch: UnboundedSender<Fetch>,
    pub(crate) settle: UnboundedSender<Settle>,
    pub(crate) renew: UnboundedSender<Renew>,
    pub(crate) errand: UnboundedSender<Errand>,
}

/// Their far ends, on the thread.
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
    /// Tells whoever waits; says whether somebody did.
    pub(crate) fn tell(self, answer: Result<A, PostgresOutboxError>) -> bool {
        self.reply.send(answer).is_ok()
    }

    /// Takes something out of the question.
    pub(crate) fn take<T>(mut self, out: impl FnOnce(&mut Q) -> T) -> (Self, T) {
        let taken = out(&mut self.question);
        (self, taken)
    }

    /// Whether nobody waits for the answer any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }
}

/// The thread, and the way to it. Dropped, it waits until the thread has done what it was asked to
/// and has handed back what it had leased, for as long as the outbox's timeout lets it.
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

    /// Puts a question into one of the queues, and waits for the answer.
    pub(crate) async fn ask<T, Q, A>(
        &self,
        queue: impl FnOnce(&Senders) -> &UnboundedSender<T>,
        wrap: impl FnOnce(Asked<Q, A>) -> T,
        question: Q,
    ) -> Result<A, PostgresOutboxError> {
        let gone = PostgresOutboxErrorKind::Gone;
        let (reply, answer) = oneshot::channel();
        let asked = Asked {
            question,
            since: Instant::now(),
            reply,
        };
        let queue = queue(self.senders.as_ref().ok_or(gone)?);
        queue.send(wrap(asked)).map_err(|_| gone)?;
        answer.await.map_err(|_| gone)?
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        drop(self.senders.take());
        if let Some(handle) = self.handle.take() {
            // It has caught its panics, and said so.
            let _ = handle.join();
        }
    }
}
