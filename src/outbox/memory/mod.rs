mod aside;
mod dead;
mod source;

use std::{
    fmt,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use tokio::{
    sync::mpsc::{self, UnboundedSender},
    time::Instant,
};
use tower_service::Service;

pub use self::source::MemorySource;
use self::{
    aside::Aside,
    dead::{DeadLetters, Limits},
};
use super::{
    Accepted, AttemptRecord, Claim, DeliveryFilter, DeliveryRecord, Ledger, Outbox, Verdict,
};
use crate::{BoxError, Delivery};

/// Deliveries wait in this process, and are gone with it.
///
/// The channel inside has no limit of its own: room is taken before a delivery is made, and a
/// delivery holds its room for as long as it is here.
#[derive(Debug)]
pub struct MemoryOutbox {
    limits: Limits,
}

/// Accepts deliveries at once.
#[derive(Clone)]
pub struct MemorySink {
    shared: Arc<Shared>,
}

/// A delivery claimed from memory; dropped without being settled, it goes back.
pub struct MemoryClaim {
    entry: Option<Entry>,
    shared: Arc<Shared>,
}

/// Looks at dead letters; what still waits is not listed.
#[derive(Debug)]
pub struct MemoryLedger {
    shared: Arc<Shared>,
}

/// What the ends share.
struct Shared {
    queue: UnboundedSender<Queued>,
    aside: Aside,
    dead: DeadLetters,
}

struct Queued {
    due: Option<Instant>,
    entry: Entry,
}

struct Entry {
    delivery: Delivery,
    attempt: u32,
    accepted_at: SystemTime,
    attempts: Vec<AttemptRecord>,
}

impl MemoryOutbox {
    /// An empty outbox that keeps 1,024 dead letters of together 64 MiB for 24 hours.
    #[must_use]
    pub fn new() -> Self {
        Self {
            limits: Limits {
                number: 1_024,
                bytes: 64 << 20,
                time: Duration::from_secs(24 * 3_600),
            },
        }
    }

    /// How many dead letters are kept, the bytes of all their payloads, and for how long; the
    /// oldest go first. Default: 1,024, 64 MiB, and 24 hours.
    #[must_use]
    pub fn with_dead_letters(mut self, number: usize, bytes: usize, time: Duration) -> Self {
        self.limits = Limits {
            number,
            bytes,
            time,
        };
        self
    }
}

impl Default for MemoryOutbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Outbox for MemoryOutbox {
    type Sink = MemorySink;
    type Source = MemorySource;
    type Ledger = MemoryLedger;

    fn split(self) -> (MemorySink, MemorySource, MemoryLedger) {
        let (queue, queued) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            queue,
            aside: Aside::new(),
            dead: DeadLetters::new(self.limits),
        });
        let sink = MemorySink {
            shared: Arc::clone(&shared),
        };
        let source = MemorySource::new(queued, Arc::clone(&shared));
        (sink, source, MemoryLedger { shared })
    }

    fn accept_claimed(
        MemorySink { shared }: &MemorySink,
        delivery: &Delivery,
    ) -> Option<(Accepted, MemoryClaim)> {
        if shared.aside.has(delivery.endpoint().host_key()) {
            return None;
        }
        let entry = Entry::new(delivery.clone(), SystemTime::now(), Vec::new());
        Some((Accepted::in_memory(), MemoryClaim::new(entry, shared)))
    }
}

impl Service<Delivery> for MemorySink {
    type Response = Accepted;
    type Error = BoxError;
    type Future = Ready<Result<Accepted, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, delivery: Delivery) -> Self::Future {
        let Shared { queue, aside, .. } = &*self.shared;
        let entry = Entry::new(delivery, SystemTime::now(), Vec::new());
        // Behind others of its host it would come anyway.
        let sent = aside
            .put_behind(entry)
            .or_else(|entry| send(queue, None, entry));
        ready(sent.map(|()| Accepted::in_memory()))
    }
}

fn send(
    queue: &UnboundedSender<Queued>,
    due: Option<Instant>,
    entry: Entry,
) -> Result<(), BoxError> {
    queue.send(Queued { due, entry }).map_err(|_| closed())
}

fn closed() -> BoxError {
    "the memory outbox has no source any more".into()
}

impl Entry {
    fn new(delivery: Delivery, accepted_at: SystemTime, attempts: Vec<AttemptRecord>) -> Self {
        Self {
            delivery,
            attempt: 1,
            accepted_at,
            attempts,
        }
    }
}

impl Ledger for MemoryLedger {
    async fn deliveries(&self, filter: &DeliveryFilter) -> Result<Vec<DeliveryRecord>, BoxError> {
        Ok(self.shared.dead.list(filter))
    }

    async fn redeliver(&self, filter: &DeliveryFilter) -> Result<usize, BoxError> {
        if self.shared.queue.is_closed() {
            let none = self.shared.dead.list(filter).is_empty();
            return if none { Ok(0) } else { Err(closed()) };
        }
        let letters = self.shared.dead.take(filter);
        let number = letters.len();
        for letter in letters {
            let entry = Entry::new(letter.delivery, letter.accepted_at, letter.attempts);
            send(&self.shared.queue, None, entry)?;
        }
        Ok(number)
    }
}

impl Claim for MemoryClaim {
    fn delivery(&self) -> &Delivery {
        &self.held().delivery
    }

    fn attempt(&self) -> u32 {
        self.held().attempt
    }

    fn another(&self, has_place: impl FnOnce() -> bool) -> Option<Self> {
        let Shared { aside, .. } = &*self.shared;
        // Most often nothing waits aside: then nobody has to look for a place.
        if aside.is_empty() || !has_place() {
            return None;
        }
        let host = self.delivery().endpoint().host_key();
        let entry = aside.take_one(host)?;
        Some(Self::new(entry, &self.shared))
    }

    async fn settle(mut self, verdict: Verdict, record: AttemptRecord) -> Result<(), BoxError> {
        let Some(mut entry) = self.entry.take() else {
            return Ok(());
        };
        match verdict {
            Verdict::Delivered => Ok(()),
            Verdict::AgainIn(delay) => {
                entry.attempts.push(record);
                entry.attempt += 1;
                send(&self.shared.queue, Some(Instant::now() + delay), entry)
            }
            Verdict::Dead(_) => {
                entry.attempts.push(record);
                let dead = &self.shared.dead;
                dead.put(&entry.delivery, entry.accepted_at, entry.attempts);
                Ok(())
            }
        }
    }
}

impl MemoryClaim {
    fn new(entry: Entry, shared: &Arc<Shared>) -> Self {
        Self {
            entry: Some(entry),
            shared: Arc::clone(shared),
        }
    }

    fn held(&self) -> &Entry {
        self.entry
            .as_ref()
            .expect("an entry is taken only by settle and drop")
    }
}

impl Drop for MemoryClaim {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            // Without a source the delivery ends here, and reports that itself.
            let _ = send(&self.shared.queue, None, entry);
        }
    }
}

impl fmt::Debug for MemorySink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySink").finish_non_exhaustive()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl fmt::Debug for MemoryClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryClaim")
            .field("attempt", &self.entry.as_ref().map(|entry| entry.attempt))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
