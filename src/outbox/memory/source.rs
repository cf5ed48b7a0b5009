use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    fmt,
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
    aside: HostMap<Host, VecDeque<Entry>>,
    /// Of the hosts aside those that may have room.
    may_have_room: VecDeque<Host>,
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
            aside: HostMap::default(),
            may_have_room: VecDeque::new(),
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
                    let claims: Vec<_> = entries.map(|entry| claim(entry, &self.shared)).collect();
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
            let mut claims = vec![claim(entry, &self.shared)];
            // One host's deliveries often come together.
            while claims.len() < room
                && self.ready.front().is_some_and(|next| next.is_for(&host))
                && let Some(entry) = self.ready.pop_front()
            {
                claims.push(claim(entry, &self.shared));
            }
            return Some(claims);
        }
        None
    }
}

fn claim(entry: Entry, shared: &Arc<Shared>) -> MemoryClaim {
    MemoryClaim {
        entry: Some(entry),
        shared: Arc::clone(shared),
    }
}

impl Entry {
    fn is_for(&self, host: &Host) -> bool {
        self.delivery.endpoint().host_key() == host
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
