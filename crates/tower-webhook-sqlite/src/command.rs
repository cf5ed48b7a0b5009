use std::sync::mpsc;

use tokio::sync::oneshot;
use tower_webhook::outbox::{
    DeliveryFilter, DueDeliveries, Lease, NewDelivery, SettleOutcome, Settlement, Want,
};

use crate::{SqliteOutboxError, SqliteOutboxErrorKind};

pub(crate) type Reply<T> = oneshot::Sender<Result<T, SqliteOutboxError>>;

/// How the outbox speaks with its thread, which ends when the last of these is gone.
#[derive(Clone, Debug)]
pub(crate) struct Commands(mpsc::Sender<Command>);

/// What the thread is asked to do. Commands that wait together are committed together.
pub(crate) enum Command {
    Insert(Vec<NewDelivery>, Reply<Vec<Option<Lease>>>),
    Fetch(Want, Reply<DueDeliveries>),
    Settle(Vec<Settlement>, Reply<Vec<SettleOutcome>>),
    Renew(Vec<Lease>, Reply<Vec<Lease>>),
    Redeliver(Sweep),
    Cancel(Sweep),
    Close(Reply<()>),
}

/// A change to all deliveries that a filter lets through: some at a time, in turn with others.
pub(crate) struct Sweep {
    pub(crate) filter: DeliveryFilter,
    pub(crate) done: usize,
    pub(crate) reply: Reply<usize>,
}

impl Commands {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Command>) {
        let (commands, received) = mpsc::channel();
        (Self(commands), received)
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn ask<T>(
        &self,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Result<T, SqliteOutboxError> {
        let (reply, answer) = oneshot::channel();
        let gone = SqliteOutboxErrorKind::Gone;
        self.0.send(command(reply)).map_err(|_| gone)?;
        answer.await.map_err(|_| gone)?
    }
}

impl Sweep {
    pub(crate) fn new(filter: DeliveryFilter, reply: Reply<usize>) -> Self {
        Self {
            filter,
            done: 0,
            reply,
        }
    }
}

impl Command {
    /// How much of a group it is, and how many bytes of payloads it writes.
    pub(crate) fn size(&self) -> (usize, usize) {
        match self {
            Self::Insert(batch, _) => {
                let bytes = batch.iter().map(|new| new.stored.payload.len());
                (batch.len(), bytes.sum())
            }
            Self::Settle(batch, _) => (batch.len(), 0),
            _ => (1, 0),
        }
    }

    pub(crate) fn is_fetch(&self) -> bool {
        matches!(self, Self::Fetch(..))
    }

    /// Whether nobody waits for its answer any more, and nothing has to be done for it.
    pub(crate) fn is_abandoned(&self) -> bool {
        match self {
            Self::Insert(_, reply) => reply.is_closed(),
            Self::Fetch(_, reply) => reply.is_closed(),
            _ => false,
        }
    }

    /// Says that it could not be done.
    pub(crate) fn fail(self, error: SqliteOutboxError) {
        // Whoever does not wait any more needs no answer.
        let _ = match self {
            Self::Insert(_, reply) => reply.send(Err(error)).is_ok(),
            Self::Fetch(_, reply) => reply.send(Err(error)).is_ok(),
            Self::Settle(_, reply) => reply.send(Err(error)).is_ok(),
            Self::Renew(_, reply) => reply.send(Err(error)).is_ok(),
            Self::Redeliver(sweep) | Self::Cancel(sweep) => sweep.reply.send(Err(error)).is_ok(),
            Self::Close(reply) => reply.send(Err(error)).is_ok(),
        };
    }
}
