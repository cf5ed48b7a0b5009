use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    fmt,
    ops::Range,
    sync::Arc,
};

use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{Instant, sleep_until},
};

use super::{Entry, MemoryClaim, Queued, Shared};
use crate::{
    BoxError, Delivery, Host,
    endpoint::HostMap,
    outbox::{Demand, Source},
};

/// Hands deliveries out in the order in which they became due, except those of a host that has
/// no room, which wait aside.
pub struct MemorySource {
    queue: UnboundedReceiver<Queued>,
    shared: Arc<Shared>,
    ready: VecDeque<Entry>,
    /// Of the hosts aside those that may have room for a reason of their own.
    may_have_room: VecDeque<Host>,
    /// All of them, and some that have none aside any more. Each has its turn.
    ring: VecDeque<Host>,
    in_ring: HostMap<Host, ()>,
    /// The part of the ring that may have room.
    looking: Range<usize>,
    later: BinaryHeap<Reverse<Later>>,
    /// Keeps what is due at the same moment in order.
    sequence: u64,
}

struct Later {
    due: Instant,
    sequence: u64,
    entry: Entry,
}

impl MemorySource {
    pub(super) fn new(queue: UnboundedReceiver<Queued>, shared: Arc<Shared>) -> Self {
        Self {
            queue,
            shared,
            ready: VecDeque::new(),
            may_have_room: VecDeque::new(),
            ring: VecDeque::new(),
            in_ring: HostMap::default(),
            looking: 0..0,
            later: BinaryHeap::new(),
            sequence: 0,
        }
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
                // Never `None`: `shared` keeps the channel open.
                Some(queued) = self.queue.recv() => self.put(queued),
                () = due => {}
            }
        }
    }

    fn has_room(&mut self, host: Option<&Host>) {
        match host {
            Some(host) => {
                if self.shared.aside.has(host) {
                    self.may_have_room.push_back(host.clone());
                }
            }
            // Those that may have room for another reason are in the ring as well.
            None => {
                self.may_have_room.clear();
                self.looking = 0..self.ring.len();
            }
        }
    }

    fn drain(&mut self) -> Vec<Delivery> {
        // What comes later would lie here for ever.
        self.queue.close();
        while let Ok(queued) = self.queue.try_recv() {
            self.put(queued);
        }
        let later = self.later.drain().map(|Reverse(later)| later.entry);
        let Shared { aside, .. } = &*self.shared;
        let hosts = aside.hosts().into_iter();
        let aside = hosts.flat_map(|host| aside.take(&host, usize::MAX));
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

    fn claim(&mut self, demand: Demand<'_>) -> Vec<MemoryClaim> {
        if demand.at_most() == 0 {
            return Vec::new();
        }
        if !self.looking.is_empty() && !self.ready.is_empty() {
            // Who is new has its turn like the others.
            while let Some(entry) = self.ready.pop_front() {
                self.put_aside(entry.delivery.endpoint().host_key().clone(), entry);
            }
            self.looking.end = self.ring.len();
        }
        self.claim_aside(demand)
            .or_else(|| self.claim_ready(demand))
            .unwrap_or_default()
    }

    /// Those of one host: they change what all have room for.
    fn claim_aside(&mut self, demand: Demand<'_>) -> Option<Vec<MemoryClaim>> {
        while let Some(host) = self.may_have_room.pop_front() {
            if let Some(claims) = self.claim_of(&host, demand) {
                return Some(claims);
            }
        }
        while self.looking.start < self.looking.end {
            let at = self.looking.start;
            let host = self.ring[at].clone();
            if !self.shared.aside.has(&host) {
                self.ring.remove(at);
                self.in_ring.remove(&host);
                self.looking.end -= 1;
            } else if let Some(claims) = self.claim_of(&host, demand) {
                // It is the last one who is looked at the next time.
                self.ring.rotate_left(at + 1);
                self.looking = 0..self.looking.end - (at + 1);
                return Some(claims);
            } else {
                self.looking.start += 1;
            }
        }
        None
    }

    fn claim_of(&mut self, host: &Host, demand: Demand<'_>) -> Option<Vec<MemoryClaim>> {
        let room = demand.room(host).min(demand.at_most());
        let entries = (room > 0).then(|| self.shared.aside.take(host, room))?;
        let claims: Vec<_> = entries
            .into_iter()
            .map(|entry| self.hand_out(entry))
            .collect();
        if claims.is_empty() {
            return None;
        }
        // Only who has asked for room, and found none, is told of the next.
        self.may_have_room.push_front(host.clone());
        Some(claims)
    }

    fn put_aside(&mut self, host: Host, entry: Entry) {
        self.shared.aside.put(&host, entry);
        if self.in_ring.insert(host.clone(), ()).is_none() {
            self.ring.push_back(host);
            self.forget_hosts();
        }
    }

    /// Forgets hosts that have none aside any more, once they are the most.
    fn forget_hosts(&mut self) {
        let Shared { aside, .. } = &*self.shared;
        if self.ring.len() > 2 * aside.len() + 64 {
            // Asked once: attempts take from it at the same time.
            self.in_ring.retain(|host, ()| aside.has(host));
            self.ring.retain(|host| self.in_ring.contains_key(host));
            self.looking = 0..self.ring.len();
        }
    }

    /// Those of several hosts together, as long as none of them could have no room for want of what
    /// the others before it have just got.
    fn claim_ready(&mut self, demand: Demand<'_>) -> Option<Vec<MemoryClaim>> {
        let mut claims = Vec::new();
        while let Some(entry) = self.ready.pop_front() {
            let host = entry.delivery.endpoint().host_key().clone();
            let room = match self.shared.aside.has(&host) {
                true => 0,
                false => demand.room(&host).min(demand.at_most()),
            };
            if room <= claims.len() && !claims.is_empty() {
                self.ready.push_front(entry);
                break;
            }
            if room == 0 {
                self.put_aside(host, entry);
                continue;
            }
            claims.push(self.hand_out(entry));
            // One host's deliveries often come together.
            while claims.len() < room
                && self.ready.front().is_some_and(|next| next.is_for(&host))
                && let Some(entry) = self.ready.pop_front()
            {
                claims.push(self.hand_out(entry));
            }
        }
        (!claims.is_empty()).then_some(claims)
    }

    fn hand_out(&self, entry: Entry) -> MemoryClaim {
        MemoryClaim::new(entry, &self.shared)
    }
}

#[cfg(test)]
impl MemorySource {
    pub(super) fn has_none_aside(&self) -> bool {
        self.shared.aside.is_empty()
    }

    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn hosts_in_ring(&self) -> usize {
        assert_eq!(self.ring.len(), self.in_ring.len());
        self.ring.len()
    }
}

impl Entry {
    fn is_for(&self, host: &Host) -> bool {
        self.delivery.endpoint().host_key() == host
    }
}

/// What is aside would outlive it with the sink.
impl Drop for MemorySource {
    fn drop(&mut self) {
        self.drain();
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

impl fmt::Debug for MemorySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySource")
            .field("ready", &self.ready.len())
            .field("later", &self.later.len())
            .finish_non_exhaustive()
    }
}
