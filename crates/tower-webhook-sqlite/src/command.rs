use std::{sync::mpsc, thread::JoinHandle};

use tokio::sync::oneshot;
use tower_webhook::outbox::{
    DueDeliveries, Lease, NewDelivery, SettleOutcome, Settlement, Verdict, Want,
};

use crate::{SqliteOutboxError, SqliteOutboxErrorKind, sweep::Sweep};

pub(crate) type Reply<T> = oneshot::Sender<Result<T, SqliteOutboxError>>;

/// How the outbox speaks with its thread. Dropped, it waits until that has written everything and has
/// handed back what it had leased: a process may exit then.
#[derive(Debug)]
pub(crate) struct Commands {
    sender: Option<mpsc::Sender<Command>>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread is asked to do. Commands that wait together are committed together.
pub(crate) enum Command {
    Insert(Vec<NewDelivery>, Reply<Vec<Option<Lease>>>),
    Begin(Vec<NewDelivery>, Reply<Vec<Option<Lease>>>),
    Fetch(Want, Reply<DueDeliveries>),
    Settle(Vec<Settlement>, Reply<Vec<SettleOutcome>>),
    Renew(Vec<Lease>, Reply<Vec<Lease>>),
    Redeliver(Sweep),
    Cancel(Sweep),
    Close(Reply<()>),
}

impl Commands {
    pub(crate) fn new(sender: mpsc::Sender<Command>, thread: JoinHandle<()>) -> Self {
        Self {
            sender: Some(sender),
            thread: Some(thread),
        }
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn ask<T>(
        &self,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Result<T, SqliteOutboxError> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply))?;
        answer.await.map_err(|_| SqliteOutboxErrorKind::Gone)?
    }

    /// As [`ask`](Self::ask), for leases: they are ended where the answer is not read.
    pub(crate) async fn ask_for<T: Leases>(
        &self,
        command: impl FnOnce(Reply<T>) -> Command,
    ) -> Result<T, SqliteOutboxError> {
        let (reply, answer) = oneshot::channel();
        let command = command(reply);
        let mut asked = Asked {
            commands: self,
            verdict: command.verdict_unread(),
            answer,
        };
        self.send(command)?;
        let answer = (&mut asked.answer).await;
        answer.map_err(|_| SqliteOutboxErrorKind::Gone)?
    }

    fn send(&self, command: Command) -> Result<(), SqliteOutboxError> {
        let gone = SqliteOutboxErrorKind::Gone;
        let sender = self.sender.as_ref().ok_or(gone)?;
        Ok(sender.send(command).map_err(|_| gone)?)
    }
}

/// Somebody who waits for leases, or is gone.
struct Asked<'c, T: Leases> {
    commands: &'c Commands,
    verdict: Verdict,
    answer: oneshot::Receiver<Result<T, SqliteOutboxError>>,
}

impl<T: Leases> Drop for Asked<'_, T> {
    fn drop(&mut self) {
        // What is sent from now on stays with the thread, which ends it.
        self.answer.close();
        if let Ok(Ok(unread)) = self.answer.try_recv()
            && let Some(ended) = unread.ended(self.verdict)
        {
            // Where the thread is gone they run out.
            let _ = self.commands.send(ended);
        }
    }
}

/// An answer with leases in it.
pub(crate) trait Leases {
    fn leases(&self) -> Vec<Lease>;

    /// What ends them, for nobody.
    fn ended(&self, verdict: Verdict) -> Option<Command> {
        let ended = |lease| Settlement::new(lease, verdict, None);
        let ended: Vec<_> = self.leases().into_iter().map(ended).collect();
        let (reply, _nobody) = oneshot::channel();
        (!ended.is_empty()).then(|| Command::Settle(ended, reply))
    }
}

impl Leases for Vec<Option<Lease>> {
    fn leases(&self) -> Vec<Lease> {
        self.iter().copied().flatten().collect()
    }
}

impl Leases for DueDeliveries {
    fn leases(&self) -> Vec<Lease> {
        self.deliveries.iter().map(|leased| leased.lease).collect()
    }
}

impl Drop for Commands {
    fn drop(&mut self) {
        drop(self.sender.take());
        if let Some(thread) = self.thread.take() {
            // It has caught its panics, and said so.
            let _ = thread.join();
        }
    }
}

impl Command {
    /// How much of a group it is, and how many bytes of payloads it writes.
    pub(crate) fn size(&self) -> (usize, usize) {
        match self {
            Self::Insert(batch, _) | Self::Begin(batch, _) => {
                let bytes = batch.iter().map(|new| new.stored.payload.len());
                (batch.len(), bytes.sum())
            }
            Self::Settle(batch, _) => (batch.len(), 0),
            _ => (1, 0),
        }
    }

    pub(crate) fn is_insert(&self) -> bool {
        matches!(self, Self::Insert(..) | Self::Begin(..))
    }

    pub(crate) fn is_fetch(&self) -> bool {
        matches!(self, Self::Fetch(..))
    }

    pub(crate) fn is_sweep(&self) -> bool {
        matches!(self, Self::Redeliver(_) | Self::Cancel(_))
    }

    /// In which order those of one group are carried out: what is fetched sees what the others make
    /// due, and what is handed back is not leased again.
    pub(crate) fn order(&self) -> u8 {
        match self {
            Self::Close(_) => 2,
            Self::Fetch(..) => 1,
            _ => 0,
        }
    }

    /// Whether nobody waits for its answer any more, and nothing has to be done for it.
    pub(crate) fn is_abandoned(&self) -> bool {
        match self {
            Self::Insert(_, reply) | Self::Begin(_, reply) => reply.is_closed(),
            Self::Fetch(_, reply) => reply.is_closed(),
            _ => false,
        }
    }

    /// What becomes of what it has leased where nobody reads that. A run that nobody was promised may go
    /// on, or never have begun: it is forgotten, as its endpoint would be told of an end that it had not.
    pub(crate) fn verdict_unread(&self) -> Verdict {
        match self {
            Self::Begin(..) => Verdict::Forgotten,
            _ => Verdict::Released,
        }
    }

    /// Says that it could not be done.
    pub(crate) fn fail(self, error: SqliteOutboxError) {
        // Whoever does not wait any more needs no answer.
        let _ = match self {
            Self::Insert(_, reply) | Self::Begin(_, reply) => reply.send(Err(error)).is_ok(),
            Self::Fetch(_, reply) => reply.send(Err(error)).is_ok(),
            Self::Settle(_, reply) => reply.send(Err(error)).is_ok(),
            Self::Renew(_, reply) => reply.send(Err(error)).is_ok(),
            Self::Redeliver(sweep) | Self::Cancel(sweep) => sweep.reply.send(Err(error)).is_ok(),
            Self::Close(reply) => reply.send(Err(error)).is_ok(),
        };
    }
}
