mod dead;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    fmt,
    future::{Ready, ready},
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use tokio::{
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    time::{Instant, sleep_until},
};
use tower_service::Service;

use self::dead::{DeadLetters, Limits};
use super::{
    Accepted, AttemptRecord, Claim, DeliveryFilter, DeliveryRecord, Demand, Ledger, Outbox, Source,
    Verdict,
};
use crate::{BoxError, Delivery, Host, endpoint::HostMap};

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
    queue: UnboundedSender<Queued>,
}

/// Hands deliveries out in the order in which they became due, except those of a host that has
/// no room, which wait aside.
pub struct MemorySource {
    queue: UnboundedReceiver<Queued>,
    back: Back,
    ready: VecDeque<Entry>,
    aside: HostMap<Host, VecDeque<Entry>>,
    /// Of the hosts aside those that may have room.
    may_have_room: VecDeque<Host>,
    later: BinaryHeap<Reverse<Later>>,
    /// Keeps what is due at the same moment in order.
    sequence: u64,
}

/// A delivery claimed from memory; dropped without being settled, it goes back.
pub struct MemoryClaim {
    entry: Option<Entry>,
    back: Back,
}

/// Looks at dead letters; what still waits is not listed.
#[derive(Debug)]
pub struct MemoryLedger {
    back: Back,
}

/// Where what was claimed goes.
#[derive(Clone)]
struct Back {
    queue: UnboundedSender<Queued>,
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

struct Later {
    due: Instant,
    sequence: u64,
    entry: Entry,
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
        let back = Back {
            queue: queue.clone(),
            dead: DeadLetters::new(self.limits),
        };
        let source = MemorySource {
            queue: queued,
            back: back.clone(),
            ready: VecDeque::new(),
            aside: HostMap::default(),
            may_have_room: VecDeque::new(),
            later: BinaryHeap::new(),
            sequence: 0,
        };
        (MemorySink { queue }, source, MemoryLedger { back })
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
        let entry = Entry::new(delivery, SystemTime::now(), Vec::new());
        let sent = send(&self.queue, None, entry);
        ready(sent.map(|()| Accepted::in_memory()))
    }
}

impl Source for MemorySource {
    type Claim = MemoryClaim;

    async fn next(&mut self, demand: Demand<'_>) -> Result<Vec<MemoryClaim>, BoxError> {
        loop {
            while let Ok(queued) = self.queue.try_recv() {
                self.put(queued);
            }
            self.collect_due();
            let claims = self.claim(demand);
            if !claims.is_empty() {
                return Ok(claims);
            }
            let due = self.later.peek().map(|Reverse(later)| later.due);
            let due = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // Never `None`: `back` keeps the channel open.
                Some(queued) = self.queue.recv() => self.put(queued),
                () = due => {}
            }
        }
    }

    fn has_room(&mut self, host: Option<&Host>) {
        match host {
            Some(host) => {
                if self.aside.contains_key(host) {
                    self.may_have_room.push_back(host.clone());
                }
            }
            None => self.may_have_room = self.aside.keys().cloned().collect(),
        }
    }

    fn drain(&mut self) -> Vec<Delivery> {
        // What comes later would lie here for ever.
        self.queue.close();
        while let Ok(queued) = self.queue.try_recv() {
            self.put(queued);
        }
        let later = self.later.drain().map(|Reverse(later)| later.entry);
        let aside = self.aside.drain().flat_map(|(_, entries)| entries);
        let all = self.ready.drain(..).chain(aside).chain(later);
        all.map(|entry| entry.delivery).collect()
    }
}

impl MemorySource {
    fn put(&mut self, Queued { due, entry }: Queued) {
        match due {
            None => self.ready.push_back(entry),
            Some(due) => {
                self.sequence += 1;
                self.later.push(Reverse(Later {
                    due,
                    sequence: self.sequence,
                    entry,
                }));
            }
        }
    }

    fn collect_due(&mut self) {
        if self.later.is_empty() {
            return;
        }
        let now = Instant::now();
        while let Some(Reverse(first)) = self.later.peek()
            && first.due <= now
            && let Some(Reverse(later)) = self.later.pop()
        {
            self.ready.push_back(later.entry);
        }
    }

    /// What is claimed at once is for one host: it changes what all have room for.
    fn claim(&mut self, demand: Demand<'_>) -> Vec<MemoryClaim> {
        if demand.at_most() == 0 {
            return Vec::new();
        }
        self.claim_aside(demand)
            .or_else(|| self.claim_ready(demand))
            .unwrap_or_default()
    }

    fn claim_aside(&mut self, demand: Demand<'_>) -> Option<Vec<MemoryClaim>> {
        while let Some(host) = self.may_have_room.front() {
            let room = demand.room(host).min(demand.at_most());
            match self.aside.get_mut(host) {
                Some(entries) if room > 0 => {
                    let entries = entries.drain(..room.min(entries.len()));
                    let claims: Vec<_> = entries.map(|entry| claim(entry, &self.back)).collect();
                    if !claims.is_empty() {
                        return Some(claims);
                    }
                    self.aside.remove(host);
                }
                _ => {}
            }
            self.may_have_room.pop_front();
        }
        None
    }

    fn claim_ready(&mut self, demand: Demand<'_>) -> Option<Vec<MemoryClaim>> {
        while let Some(entry) = self.ready.pop_front() {
            let host = entry.delivery.endpoint().host_key().clone();
            let room = match self.aside.contains_key(&host) {
                true => 0,
                false => demand.room(&host).min(demand.at_most()),
            };
            if room == 0 {
                self.aside.entry(host).or_default().push_back(entry);
                continue;
            }
            let mut claims = vec![claim(entry, &self.back)];
            // One host's deliveries often come together.
            while claims.len() < room
                && self.ready.front().is_some_and(|next| next.is_for(&host))
                && let Some(entry) = self.ready.pop_front()
            {
                claims.push(claim(entry, &self.back));
            }
            return Some(claims);
        }
        None
    }
}

fn claim(entry: Entry, back: &Back) -> MemoryClaim {
    MemoryClaim {
        entry: Some(entry),
        back: back.clone(),
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

    fn is_for(&self, host: &Host) -> bool {
        self.delivery.endpoint().host_key() == host
    }
}

impl Ledger for MemoryLedger {
    async fn deliveries(&self, filter: &DeliveryFilter) -> Result<Vec<DeliveryRecord>, BoxError> {
        Ok(self.back.dead.list(filter))
    }

    async fn redeliver(&self, filter: &DeliveryFilter) -> Result<usize, BoxError> {
        if self.back.queue.is_closed() {
            let none = self.back.dead.list(filter).is_empty();
            return if none { Ok(0) } else { Err(closed()) };
        }
        let letters = self.back.dead.take(filter);
        let number = letters.len();
        for letter in letters {
            let entry = Entry::new(letter.delivery, letter.accepted_at, letter.attempts);
            send(&self.back.queue, None, entry)?;
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

    async fn settle(mut self, verdict: Verdict, record: AttemptRecord) -> Result<(), BoxError> {
        let Some(mut entry) = self.entry.take() else {
            return Ok(());
        };
        match verdict {
            Verdict::Delivered => Ok(()),
            Verdict::AgainIn(delay) => {
                entry.attempts.push(record);
                entry.attempt += 1;
                send(&self.back.queue, Some(Instant::now() + delay), entry)
            }
            Verdict::Dead(_) => {
                entry.attempts.push(record);
                let dead = &self.back.dead;
                dead.put(&entry.delivery, entry.accepted_at, entry.attempts);
                Ok(())
            }
        }
    }
}

impl MemoryClaim {
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
            let _ = send(&self.back.queue, None, entry);
        }
    }
}

impl Ord for Later {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.sequence).cmp(&(other.due, other.sequence))
    }
}

impl PartialOrd for Later {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Later {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Later {}

impl fmt::Debug for MemorySink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySink").finish_non_exhaustive()
    }
}

impl fmt::Debug for Back {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Back").finish_non_exhaustive()
    }
}

impl fmt::Debug for MemorySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySource")
            .field("ready", &self.ready.len())
            .field("later", &self.later.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for MemoryClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryClaim")
            .field("attempt", &self.entry.as_ref().map(|entry| entry.attempt))
            .finish_non_exhaustive()
    }
}
