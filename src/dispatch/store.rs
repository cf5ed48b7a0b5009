use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use foldhash::fast::RandomState;
use tokio::{runtime, time::Instant};

use super::scheduler::{Due, Scheduler};
use crate::{
    delivery::{Delivery, Payload},
    endpoint::Host,
    error::BoxError,
    id::DeliveryId,
    outbox::{
        Envelope, ErasedOutbox, Lease, LeasedDelivery, Limits, NewDelivery, Outbox, Sealing,
        StoredDelivery, Unreadable, Want,
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
    /// Since when it has been put off instead of attempted.
    pub(super) put_off_since: Option<Instant>,
}

/// What this process holds of a store, and when it asks it for more.
pub(super) struct StoreState {
    pub(super) is_durable: bool,
    lease_time: Option<Duration>,
    bounds: HeldBounds,
    /// By lease, what of a durable outbox is in memory: due, under way, or not settled yet.
    held: HashMap<DeliveryId, Held, RandomState>,
    held_bytes: usize,
    /// By lease, the runs that are recorded there. They hold reservations, and count in no bound here.
    runs: HashMap<DeliveryId, u64, RandomState>,
    /// Hosts that answer, or are new, of which something was not leased for want of room: it is asked for
    /// by name, as long as there is no room for hosts in general.
    left_out: HashSet<Host>,
    /// Those of them that a fetch has asked for.
    asked_by_name: HashSet<Host>,
    /// What is being inserted with a lease, or fetched: it may be held in a moment.
    expected: Expected,
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

/// What an outbox has been asked to lease to this process. It counts as held from the question on, so
/// that what is asked for at the same time exceeds no bound.
#[derive(Clone, Copy, Default)]
pub(super) struct Expected {
    deliveries: usize,
    bytes: usize,
}

/// How often a durable outbox is asked for what other processes have put into it.
const POLL: Duration = Duration::from_secs(1);
/// What one call fetches at most: what is leased ahead of time is nobody else's.
const MOST_AT_ONCE: usize = 256;
/// So many hosts are asked for by name at most.
const MOST_LEFT_OUT: usize = 1_024;

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
        self.read_with(stored.id, &stored.envelope, &stored.payload)
    }

    /// All of it but its payload.
    pub(super) fn read_without_payload(
        &self,
        id: DeliveryId,
        envelope: &Envelope,
    ) -> Result<Delivery, Unreadable> {
        self.sealing.open_without_payload(id, envelope)
    }

    pub(super) fn read_with(
        &self,
        id: DeliveryId,
        envelope: &Envelope,
        payload: &Payload,
    ) -> Result<Delivery, Unreadable> {
        self.sealing.open(id, envelope, payload)
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
            runs: HashMap::default(),
            left_out: HashSet::new(),
            asked_by_name: HashSet::new(),
            expected: Expected::default(),
            fetch_at: None,
            fetching: None,
            has_more: false,
            renew_at: None,
            renewing: None,
            unsettled: 0,
            is_stuck: false,
        }
    }

    /// Which deliveries that are about to be kept are to be leased at once. What is in memory anyway
    /// always is. What comes of the others is [no longer expected](Self::end_expecting) once it is
    /// held.
    pub(super) fn choose_leases<'d>(
        &mut self,
        scheduler: &Scheduler<Job>,
        deliveries: impl Iterator<Item = &'d Delivery>,
    ) -> (Vec<bool>, Expected) {
        let mut chosen = Expected::default();
        if !self.is_durable {
            return (deliveries.map(|_| true).collect(), chosen);
        }
        let mut of_hosts: HashMap<&Host, usize, RandomState> = HashMap::default();
        let mut unanswered = scheduler.waiting_unanswered();
        let leased = deliveries.map(|delivery| {
            let len = delivery.kept_len();
            let host = delivery.endpoint().host_key();
            let of_host = of_hosts.entry(host).or_default();
            let room = scheduler.room_for(host);
            let left = self.left();
            let has_room = room.deliveries > *of_host
                && left.deliveries > chosen.deliveries
                && left.bytes >= chosen.bytes.saturating_add(len);
            // A new host finds room, however many there are that do not answer.
            let is_new = room.is_new && *of_host == 0;
            let is_chosen = has_room
                && (room.is_answering || is_new || unanswered < self.bounds.deliveries / 2);
            if is_chosen {
                *of_host += 1;
                chosen.deliveries += 1;
                chosen.bytes += len;
                unanswered += usize::from(!room.is_answering);
            }
            is_chosen
        });
        let leased = leased.collect();
        self.expect(chosen);
        (leased, chosen)
    }

    /// Something of this host is in the outbox, and was not leased for want of room.
    pub(super) fn leave_out(&mut self, scheduler: &Scheduler<Job>, host: &Host) {
        let room = scheduler.room_for(host);
        let number = self.left_out.len() + self.asked_by_name.len();
        if (room.is_answering || room.is_new) && number < MOST_LEFT_OUT {
            self.left_out.insert(host.clone());
        }
    }

    /// How much more can be held.
    fn left(&self) -> Expected {
        let deliveries = self.held.len() + self.expected.deliveries;
        let bytes = self.held_bytes + self.expected.bytes;
        Expected {
            deliveries: self.bounds.deliveries.saturating_sub(deliveries),
            bytes: self.bounds.bytes.saturating_sub(bytes),
        }
    }

    fn expect(&mut self, more: Expected) {
        self.expected.deliveries += more.deliveries;
        self.expected.bytes += more.bytes;
    }

    /// It is held by now, or will not come.
    pub(super) fn end_expecting(&mut self, no_more: Expected) {
        self.expected.deliveries -= no_more.deliveries;
        self.expected.bytes -= no_more.bytes;
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
        self.renew_from(now);
    }

    fn renew_from(&mut self, now: Instant) {
        if let (None, Some(time)) = (self.renew_at, self.lease_time) {
            self.renew_at = Some(now + time / 3);
        }
    }

    pub(super) fn hold_run(&mut self, lease: Lease, now: Instant) {
        self.runs.insert(lease.delivery, lease.token);
        self.renew_from(now);
    }

    /// The run has ended: its lease, where it is recorded.
    pub(super) fn take_run(&mut self, id: DeliveryId) -> Option<Lease> {
        let token = self.runs.remove(&id)?;
        Some(Lease::new(id, token))
    }

    /// The lease has ended. Says whether it is time to ask for more.
    pub(super) fn let_go(&mut self, lease: Lease) -> bool {
        let had_room = self.has_room();
        let is_ours = |held: &&Held| held.token == lease.token;
        if self.held.get(&lease.delivery).filter(is_ours).is_some()
            && let Some(held) = self.held.remove(&lease.delivery)
        {
            self.held_bytes -= held.bytes;
        }
        self.has_more && !had_room && self.has_room()
    }

    /// Whether a quarter is free: room for one delivery is not worth a question.
    fn has_room(&self) -> bool {
        let HeldBounds { deliveries, bytes } = self.bounds;
        self.held.len() <= deliveries - deliveries / 4 && self.held_bytes <= bytes - bytes / 4
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
    ) -> Option<(Want, Expected)> {
        let is_asked = self.fetching.is_some_and(|turn| turn.lasts(id, now));
        if is_asked || self.is_stuck || self.fetch_at.is_none_or(|at| at > now) {
            return None;
        }
        self.fetch_at = None;
        let want = self.want(scheduler);
        if want.is_some() {
            self.asked_by_name.extend(self.left_out.drain());
        }
        let expected = want.as_ref().map(|want| self.expected_of(want));
        self.expect(expected.unwrap_or_default());
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
        want.zip(expected)
    }

    fn expected_of(&self, want: &Want) -> Expected {
        match self.is_durable {
            true => Expected {
                deliveries: want.deliveries,
                bytes: want.bytes,
            },
            false => Expected::default(),
        }
    }

    fn want(&self, scheduler: &Scheduler<Job>) -> Option<Want> {
        if !self.is_durable {
            return Some(Want::up_to(usize::MAX));
        }
        let left = self.left();
        if left.deliveries == 0 || left.bytes == 0 {
            return None;
        }
        let others = match self.has_room_for_unanswered(scheduler) {
            true => usize::MAX,
            false => 0,
        };
        // Half of it is left to what is inserted meanwhile: that need not be fetched then.
        let mut want = Want::up_to(left.deliveries.div_ceil(2).min(MOST_AT_ONCE));
        want.bytes = left.bytes.div_ceil(2);
        (want.of_host, want.of_other_hosts) = scheduler.demand(others);
        for host in self.left_out.union(&self.asked_by_name) {
            let room = scheduler.room_for(host).deliveries;
            want.of_host.entry(host.clone()).or_insert(room);
        }
        Some(want)
    }

    /// A fetch has ended, with so many deliveries; `None` where it failed.
    pub(super) fn end_fetch(
        &mut self,
        expected: Expected,
        found: Option<usize>,
        has_more: bool,
        next_due: Option<Duration>,
        now: Instant,
    ) {
        self.fetching = None;
        self.end_expecting(expected);
        if found.is_some_and(|found| found < expected.deliveries) {
            // All that was asked for by name has come.
            self.asked_by_name.clear();
        }
        let next_due = next_due.map(|due| now + due.min(LONGEST));
        let poll = (self.is_durable || found.is_none()).then_some(now + POLL);
        let has_found = found.is_some_and(|found| found > 0);
        let at_once = (has_more && has_found && self.has_room()).then_some(now);
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
        let holds_some = !self.held.is_empty() || !self.runs.is_empty();
        self.renew_at = holds_some.then_some(now + time / 3);
        let turn = Turn {
            runtime: id,
            since: now,
        };
        self.renewing = holds_some.then_some(turn);
        let held = self.held.iter();
        let held = held.map(|(&id, held)| Lease::new(id, held.token));
        let runs = self.runs.iter();
        let runs = runs.map(|(&id, &token)| Lease::new(id, token));
        held.chain(runs).collect()
    }

    /// Whether a call is under way that leases something, or renews leases.
    pub(super) fn is_being_asked(&self) -> bool {
        self.fetching.is_some() || self.renewing.is_some()
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
            put_off_since: None,
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
