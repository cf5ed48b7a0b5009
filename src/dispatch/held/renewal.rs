//! The heartbeat: which leases are renewed, and when.

use tokio::{runtime, time::Instant};

use super::{POLL, StoreState, Turn};
use crate::outbox::Lease;

impl StoreState {
    pub(super) fn renew_from(&mut self, now: Instant) {
        if let (None, Some(time)) = (self.renew_at, self.lease_time) {
            self.renew_at = Some(now + time / 3);
        }
    }

    pub(in crate::dispatch) fn next_renewal(&self) -> Option<Instant> {
        self.renew_at
    }

    /// The leases that are to be renewed now.
    pub(in crate::dispatch) fn begin_renewal(
        &mut self,
        id: runtime::Id,
        now: Instant,
    ) -> Vec<Lease> {
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

    pub(in crate::dispatch) fn end_renewal(&mut self) {
        self.renewing = None;
    }
}
