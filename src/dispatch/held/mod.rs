//! What this process holds of an outbox, and what it is to ask it for next: bounds, fetches and renewals.
//!
//! It is a part of the hub, behind its mutex: it asks nobody itself.

mod bounds;
mod fetching;
mod left_out;
mod renewal;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, time::Duration};

use foldhash::fast::RandomState;
use tokio::{runtime, time::Instant};

pub(super) use self::bounds::{Amount, HeldBounds};
use self::{bounds::Held, left_out::LeftOut};
use crate::{
    id::DeliveryId,
    outbox::{Lease, Limits},
};

/// What this process holds of a store, and when it asks it for more.
pub(super) struct StoreState {
    pub(super) is_durable: bool,
    /// Others attempt what is in it: nothing is leased to this process but runs.
    is_left_to_others: bool,
    lease_time: Option<Duration>,
    bounds: HeldBounds,
    /// By lease, what of a durable outbox is in memory: due, under way, or not settled yet.
    held: HashMap<DeliveryId, Held, RandomState>,
    held_bytes: usize,
    /// By lease, the runs that are recorded there. They hold reservations, and count in no bound here.
    runs: HashMap<DeliveryId, u64, RandomState>,
    left_out: LeftOut,
    /// What is being inserted with a lease, or fetched: it may be held in a moment. It counts as held from the
    /// question on, so that what is asked for at the same time exceeds no bound.
    expected: Amount,
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
    stuck_calls: usize,
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

/// How often a durable outbox is asked for what other processes have put into it.
const POLL: Duration = Duration::from_secs(1);

impl StoreState {
    pub(super) fn new(limits: &Limits, bounds: HeldBounds) -> Self {
        Self {
            is_durable: limits.is_durable(),
            is_left_to_others: false,
            lease_time: limits.lease,
            bounds,
            held: HashMap::default(),
            held_bytes: 0,
            runs: HashMap::default(),
            left_out: LeftOut::default(),
            expected: Amount::default(),
            fetch_at: None,
            fetching: None,
            has_more: false,
            renew_at: None,
            renewing: None,
            unsettled: 0,
            stuck_calls: 0,
        }
    }

    pub(super) fn leave_to_others(&mut self) {
        self.is_left_to_others = true;
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

    /// A call that settles takes long, in some runtime.
    pub(super) fn begin_stuck_call(&mut self) {
        self.stuck_calls += 1;
    }

    pub(super) fn end_stuck_call(&mut self) {
        self.stuck_calls -= 1;
    }

    pub(super) fn is_stuck(&self) -> bool {
        self.stuck_calls > 0
    }

    pub(super) fn holds(&self, lease: &Lease) -> bool {
        let id = &lease.delivery;
        let held = self.held.get(id).map(|held| held.token);
        [held, self.runs.get(id).copied()].contains(&Some(lease.token))
    }

    /// How many deliveries of a durable outbox are leased to this process.
    #[cfg(feature = "metrics")]
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// How many runs are recorded there.
    #[cfg(feature = "metrics")]
    pub(super) fn runs(&self) -> usize {
        self.runs.len()
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
        let may_fetch = may_fetch && !self.is_stuck();
        let fetch_at = self.fetch_at.filter(|_| may_fetch);
        let fetch_at = fetch_at.and_then(|at| after(self.fetching, at));
        let renew_at = self.renew_at.and_then(|at| after(self.renewing, at));
        [fetch_at, renew_at].into_iter().flatten().min()
    }

    /// Whether a call is under way that leases something, or renews leases.
    pub(super) fn is_being_asked(&self) -> bool {
        self.fetching.is_some() || self.renewing.is_some()
    }
}
