use std::{
    collections::HashMap,
    sync::{Arc, mpsc},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

use super::{SqliteOutboxError, SqliteOutboxErrorKind, hold::Hold};
use crate::{
    Delivery, RequestId,
    outbox::{Accepted, AttemptRecord, DeliveryFilter, Verdict},
};

pub(super) type Reply<T> = oneshot::Sender<Result<T, SqliteOutboxError>>;

/// How the rest of the outbox speaks with its thread, which ends when the last handle is gone.
#[derive(Clone)]
pub(super) struct Handle {
    pub(super) commands: mpsc::Sender<Command>,
    /// Told when there may be something to claim.
    pub(super) due: Arc<Notify>,
}

/// What the thread is asked to do. Commands that wait together are committed together.
pub(super) enum Command {
    Accept(Accept),
    TakeBack(TakeBack),
    Settle(Settle),
    Release(ClaimId),
    Redeliver(Redeliver),
    Claim(ClaimRequest),
    #[cfg(test)]
    Do(Box<dyn Fn() + Send>),
}

pub(super) struct Accept {
    /// Holds the room that it takes until it is on the disk.
    pub(super) delivery: Delivery,
    pub(super) endpoint: String,
    pub(super) headers: String,
    pub(super) secret: Option<(Vec<u8>, Arc<str>)>,
    pub(super) reply: Reply<Accepted>,
}

/// A row that was kept when nobody waited for it any more: its delivery has gone another way.
pub(super) struct TakeBack {
    pub(super) seq: i64,
    pub(super) id: RequestId,
}

pub(super) struct Settle {
    pub(super) claim: ClaimId,
    /// `None` when it could not be read.
    pub(super) id: Option<RequestId>,
    pub(super) verdict: Verdict,
    pub(super) record: AttemptRecord,
    /// Why it is dead, when the verdict does not say.
    pub(super) reason: Option<&'static str>,
    pub(super) reply: Option<Reply<()>>,
}

pub(super) struct Redeliver {
    pub(super) filter: DeliveryFilter,
    pub(super) reply: Reply<usize>,
}

pub(super) struct ClaimRequest {
    pub(super) at_most: usize,
    /// The room of hosts that have attempts under way,
    pub(super) rooms: HashMap<Arc<str>, usize>,
    /// and of any other.
    pub(super) room_elsewhere: usize,
    /// For the claims' own messages.
    pub(super) handle: Handle,
    pub(super) reply: Reply<Batch>,
}

/// One row, claimed by one owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClaimId {
    pub(super) seq: i64,
    pub(super) owner: i64,
}

/// What a claim request found.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) claims: Vec<(Hold, StoredRow)>,
    /// Until the next delivery is due, when nothing was found.
    pub(super) next_due: Option<Duration>,
    /// Not everything was looked at.
    pub(super) more: bool,
}

/// A row as it was read: not judged yet.
pub(super) struct StoredRow {
    pub(super) id: Option<String>,
    pub(super) endpoint: Option<String>,
    pub(super) status: i64,
    pub(super) headers: Option<String>,
    pub(super) secret: Option<Vec<u8>>,
    pub(super) secret_key: Option<String>,
    pub(super) payload: Option<Bytes>,
    pub(super) payload_len: i64,
    pub(super) attempt: i64,
}

impl Handle {
    pub(super) fn send(&self, command: Command) -> Result<(), SqliteOutboxError> {
        self.commands
            .send(command)
            .map_err(|_| SqliteOutboxErrorKind::Gone.into())
    }
}

impl Command {
    pub(super) fn is_claim(&self) -> bool {
        matches!(self, Self::Claim(_))
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Accept(accept) => accept.delivery.payload().len(),
            _ => 0,
        }
    }

    /// Says that it could not be done.
    pub(super) fn fail(self, error: SqliteOutboxError) {
        // Whoever does not wait any more needs no answer.
        let _ = match self {
            Self::Accept(Accept { reply, .. }) => reply.send(Err(error)).is_ok(),
            Self::Settle(Settle {
                reply: Some(reply), ..
            }) => reply.send(Err(error)).is_ok(),
            Self::Redeliver(Redeliver { reply, .. }) => reply.send(Err(error)).is_ok(),
            Self::Claim(ClaimRequest { reply, .. }) => reply.send(Err(error)).is_ok(),
            _ => true,
        };
    }
}
