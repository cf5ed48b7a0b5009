use std::{collections::HashMap, sync::Arc, time::Duration};

use foldhash::fast::RandomState;
use tokio::{runtime, time::Instant};

use super::scheduler::{Due, Scheduler};
use crate::{
    delivery::Delivery,
    endpoint::Host,
    error::BoxError,
    id::DeliveryId,
    outbox::{
        ErasedOutbox, Lease, LeasedDelivery, Limits, NewDelivery, Outbox, Sealing, StoredDelivery,
        Unreadable, Want,
    },
};

/// An outbox, and how deliveries go into it and come out of it.
pub(super) struct Store {
    pub(super) outbox: Arc<dyn ErasedOutbox>,
    pub(super) limits: Limits,
    sealing: Sealing,
}

/// Which of a dispatcher's outboxes: the one that it was given, or the one in memory for what that
/// does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Given,
    Fallback,
}

impl Which {
    pub(super) const ALL: [Self; 2] = [Self::Given, Self::Fallback];
}

/// A delivery whose attempt is this process's business.
pub(super) struct Job {
    pub(super) delivery: Delivery,
    pub(super) attempt: u32,
    pub(super) lease: Lease,
    pub(super) which: Which,
}

/// What this process holds of a store, and when it asks it for more.
pub(super) struct StoreState {
    pub(super) is_durable: bool,
    lease_time: Option<Duration>,
    bounds: HeldBounds,
    /// By lease, what of a durable outbox is in memory: due, under way, or not settled yet.
    held: HashMap<DeliveryId, Held, RandomState>,
    held_bytes: usize,
    /// When it is asked for what is due; `None` for when somebody says so.
    fetch_at: Option<Instant>,
    fetching: Option<Turn>,
    /// There was more than there was room for.
    has_more: bool,
    renew_at: Option<Instant>,
    renewing: Option<Turn>,
    /// Settlements that the outbox has not noted yet.
    pub(super) unsettled: usize,
    /// It has not noted any for so long that it is asked for nothing new.
    pub(super) is_stuck: bool,
}

/// Who asks the outbox for something, so that nobody else does. Where that runtime is not driven,
/// another one has its turn after a while.
#[derive(Clone, Copy)]
struct Turn {
    runtime: runtime::Id,
    since: Instant,
}

/// The longest that a turn keeps other runtimes from theirs.
const TURN: Duration = Duration::from_secs(10);

impl Turn {
    /// Whether it is not for this runtime to begin another one.
    fn lasts(self, id: runtime::Id, now: Instant) -> bool {
        self.runtime == id || now.duration_since(self.since) < TURN
    }
}

#[derive(Clone, Copy)]
struct Held {
    token: u64,
    bytes: usize,
}

/// How much of a durable outbox is in memory at most.
#[derive(Clone, Copy)]
pub(super) struct HeldBounds {
    pub(super) deliveries: usize,
    pub(super) bytes: usize,
}

/// How often a durable outbox is asked for what other processes have put into it.
const POLL: Duration = Duration::from_secs(1);
/// What one call fetches at most: what is leased ahead of time is nobody else's.
const MOST_AT_ONCE: usize = 256;

impl Store {
    pub(super) fn new(outbox: impl Outbox) -> Self {
        Self {
            limits: outbox.limits(),
            sealing: outbox.sealing(),
            outbox: Arc::new(outbox),
        }
    }

    pub(super) fn is_in_memory(&self) -> bool {
        self.sealing.is_in_memory()
    }

    /// What the outbox is to keep of a delivery.
    pub(super) fn to_new(&self, delivery: &Delivery, lease: bool) -> Result<NewDelivery, BoxError> {
        let envelope = self.sealing.seal(delivery)?;
        Ok(NewDelivery::new(
            StoredDelivery::of(delivery, envelope),
            lease,
        ))
    }

    pub(super) fn read(&self, stored: &StoredDelivery) -> Result<Delivery, Unreadable> {
        self.sealing
            .open(stored.id, &stored.envelope, &stored.payload)
    }

    pub(super) fn takes(&self, delivery: &Delivery) -> bool {
        let max = self.limits.max_payload;
        max.is_none_or(|max| delivery.payload().len() <= max)
    }
}

impl StoreState {
    pub(super) fn new(store: &Store, bounds: HeldBounds) -> Self {
        Self {
            is_durable: store.limits.is_durable(),
            lease_time: store.limits.lease,
            bounds,
            held: HashMap::default(),
            held_bytes: 0,
            fetch_at: None,
            fetching: None,
            has_more: false,
            renew_at: None,
            renewing: None,
            unsettled: 0,
            is_stuck: false,
        }
    }

    /// Whether a delivery that is about to be kept is to be leased at once. What is in memory anyway
    /// always is.
    pub(super) fn wants_lease(&self, scheduler: &Scheduler<Job>, delivery: &Delivery) -> bool {
        if !self.is_durable {
            return true;
        }
        let bytes = self.held_bytes.saturating_add(delivery.payload().len());
        let room = scheduler.room_for(delivery.endpoint().host_key());
        room.deliveries > 0
            && self.held.len() < self.bounds.deliveries
            && bytes <= self.bounds.bytes
            && (room.is_answering || room.is_new || self.has_room_for_unanswered(scheduler))
    }

    /// Whether something of hosts that are not known to answer has to make way for a new one.
    pub(super) fn has_too_many_unanswered(&self, scheduler: &Scheduler<Job>) -> bool {
        self.is_durable && scheduler.waiting_unanswered() > self.bounds.deliveries / 2
    }

    /// Hosts that are not known to answer have half of what is held: others always find room.
    fn has_room_for_unanswered(&self, scheduler: &Scheduler<Job>) -> bool {
        scheduler.waiting_unanswered() < self.bounds.deliveries / 2
    }

    pub(super) fn hold(&mut self, lease: Lease, bytes: usize, now: Instant) {
        if !self.is_durable {
            return;
        }
        let token = lease.token;
        let before = self.held.insert(lease.delivery, Held { token, bytes });
        self.held_bytes += bytes;
        self.held_bytes -= before.map_or(0, |before| before.bytes);
        if let (None, Some(time)) = (self.renew_at, self.lease_time) {
            self.renew_at = Some(now + time / 3);
        }
    }

    /// The lease has ended. Says whether it is time to ask for more.
    pub(super) fn let_go(&mut self, lease: Lease) -> bool {
        let is_ours = |held: &&Held| held.token == lease.token;
        if self.held.get(&lease.delivery).filter(is_ours).is_some()
            && let Some(held) = self.held.remove(&lease.delivery)
        {
            self.held_bytes -= held.bytes;
        }
        // Not with each that ends: it takes a while until a whole batch has room.
        self.has_more && self.held.len() == self.bounds.deliveries * 3 / 4
    }

    /// Has it asked for what is due at that time, if not earlier. Says whether that is news.
    pub(super) fn fetch_at(&mut self, at: Instant) -> bool {
        let is_earlier = self.fetch_at.is_none_or(|before| at < before);
        if is_earlier {
            self.fetch_at = Some(at);
        }
        is_earlier
    }

    pub(super) fn next_renewal(&self) -> Option<Instant> {
        self.renew_at
    }

    pub(super) fn has_more(&self) -> bool {
        self.has_more
    }

    /// When there will be something to do for it in this runtime; once the dispatcher is to stop,
    /// nothing is fetched.
    pub(super) fn next_step(&self, id: runtime::Id, may_fetch: bool) -> Option<Instant> {
        // Not before somebody else's turn is over.
        let after = |turn: Option<Turn>, at: Instant| match turn {
            None => Some(at),
            Some(turn) if turn.runtime == id => None,
            Some(turn) => Some(at.max(turn.since + TURN)),
        };
        let may_fetch = may_fetch && !self.is_stuck;
        let fetch_at = self.fetch_at.filter(|_| may_fetch);
        let fetch_at = fetch_at.and_then(|at| after(self.fetching, at));
        let renew_at = self.renew_at.and_then(|at| after(self.renewing, at));
        [fetch_at, renew_at].into_iter().flatten().min()
    }

    /// What to ask it for now, if it is time for that and there is room.
    pub(super) fn begin_fetch(
        &mut self,
        scheduler: &Scheduler<Job>,
        id: runtime::Id,
        now: Instant,
    ) -> Option<Want> {
        let is_asked = self.fetching.is_some_and(|turn| turn.lasts(id, now));
        if is_asked || self.is_stuck || self.fetch_at.is_none_or(|at| at > now) {
            return None;
        }
        self.fetch_at = None;
        let want = self.want(scheduler);
        let turn = Turn {
            runtime: id,
            since: now,
        };
        self.fetching = want.is_some().then_some(turn);
        if want.is_none() {
            // There is no room: whoever makes some, or the next poll, asks again.
            self.has_more = true;
            self.fetch_at = Some(now + POLL);
        }
        want
    }

    fn want(&self, scheduler: &Scheduler<Job>) -> Option<Want> {
        if !self.is_durable {
            return Some(Want::up_to(usize::MAX));
        }
        let deliveries = self.bounds.deliveries.saturating_sub(self.held.len());
        let bytes = self.bounds.bytes.saturating_sub(self.held_bytes);
        if deliveries == 0 || bytes == 0 {
            return None;
        }
        let others = match self.has_room_for_unanswered(scheduler) {
            true => usize::MAX,
            false => 0,
        };
        let mut want = Want::up_to(deliveries.min(MOST_AT_ONCE));
        want.bytes = bytes;
        (want.of_host, want.of_other_hosts) = scheduler.demand(others);
        Some(want)
    }

    /// A fetch has ended, with so many deliveries; `None` where it failed.
    pub(super) fn end_fetch(
        &mut self,
        found: Option<usize>,
        has_more: bool,
        next_due: Option<Duration>,
        now: Instant,
    ) {
        self.fetching = None;
        let next_due = next_due.map(|due| now + due.min(LONGEST));
        let poll = (self.is_durable || found.is_none()).then_some(now + POLL);
        let at_once = (has_more && found.is_some_and(|found| found > 0)).then_some(now);
        self.has_more = has_more || found.is_none();
        for at in [next_due, poll, at_once].into_iter().flatten() {
            self.fetch_at(at);
        }
    }

    /// The leases that are to be renewed now.
    pub(super) fn begin_renewal(&mut self, id: runtime::Id, now: Instant) -> Vec<Lease> {
        let is_asked = self.renewing.is_some_and(|turn| turn.lasts(id, now));
        if is_asked || self.renew_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        let time = self.lease_time.unwrap_or(POLL);
        self.renew_at = (!self.held.is_empty()).then_some(now + time / 3);
        let turn = Turn {
            runtime: id,
            since: now,
        };
        self.renewing = (!self.held.is_empty()).then_some(turn);
        let held = self.held.iter();
        held.map(|(&id, held)| Lease::new(id, held.token)).collect()
    }

    pub(super) fn end_renewal(&mut self) {
        self.renewing = None;
    }
}

/// An `Instant` that is later than some clocks can tell cannot be made.
const LONGEST: Duration = Duration::from_secs(30 * 365 * 86_400);

impl Job {
    pub(super) fn new(delivery: Delivery, lease: Lease, which: Which) -> Self {
        Self {
            delivery,
            attempt: 1,
            lease,
            which,
        }
    }

    pub(super) fn fetched(leased: &LeasedDelivery, delivery: Delivery, which: Which) -> Self {
        Self {
            attempt: leased.attempt.max(1),
            ..Self::new(delivery, leased.lease, which)
        }
    }
}

impl Due for Job {
    fn host(&self) -> &Host {
        self.delivery.endpoint().host_key()
    }
}
