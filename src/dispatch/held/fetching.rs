//! When an outbox is asked for what is due, and for how much.

use std::time::Duration;

use tokio::{runtime, time::Instant};

use super::{Amount, POLL, StoreState, Turn};
use crate::{
    dispatch::{scheduler::Scheduler, store::Job},
    endpoint::Host,
    outbox::Want,
};

/// What one call fetches at most: what is leased ahead of time is nobody else's.
const MOST_AT_ONCE: usize = 256;

/// An `Instant` that is later than some clocks can tell cannot be made.
const LONGEST: Duration = Duration::from_secs(30 * 365 * 86_400);

impl StoreState {
    /// Has it asked for what is due at that time, if not earlier. Says whether that is news.
    pub(in crate::dispatch) fn fetch_at(&mut self, at: Instant) -> bool {
        let is_earlier = self.fetch_at.is_none_or(|before| at < before) && !self.is_left_to_others;
        if is_earlier {
            self.fetch_at = Some(at);
        }
        is_earlier
    }

    pub(in crate::dispatch) fn has_more(&self) -> bool {
        self.has_more
    }

    /// Something of this host is in the outbox, and was not leased for want of room.
    pub(in crate::dispatch) fn leave_out(&mut self, scheduler: &Scheduler<Job>, host: &Host) {
        if self.is_left_to_others {
            return;
        }
        let room = scheduler.room_for(host);
        if room.is_answering || room.is_new {
            self.left_out.add(host);
        }
    }

    /// What to ask it for now, if it is time for that and there is room.
    pub(in crate::dispatch) fn begin_fetch(
        &mut self,
        scheduler: &Scheduler<Job>,
        id: runtime::Id,
        now: Instant,
    ) -> Option<(Want, Amount)> {
        let is_asked = self.fetching.is_some_and(|turn| turn.lasts(id, now));
        if is_asked || self.is_stuck() || self.fetch_at.is_none_or(|at| at > now) {
            return None;
        }
        self.fetch_at = None;
        let want = self.want(scheduler);
        if want.is_some() {
            self.left_out.begin_asking();
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

    fn expected_of(&self, want: &Want) -> Amount {
        match self.is_durable {
            true => Amount {
                deliveries: want.deliveries,
                bytes: want.bytes,
            },
            false => Amount::default(),
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
        for host in self.left_out.hosts() {
            let room = scheduler.room_for(host).deliveries;
            want.of_host.entry(host.clone()).or_insert(room);
        }
        Some(want)
    }

    /// A fetch has ended, with so much; `None` where it failed.
    pub(in crate::dispatch) fn end_fetch(
        &mut self,
        expected: Amount,
        found: Option<Amount>,
        has_more: bool,
        next_due: Option<Duration>,
        now: Instant,
    ) {
        self.fetching = None;
        self.end_expecting(expected);
        let has_left =
            |found: Amount| found.deliveries < expected.deliveries && found.bytes < expected.bytes;
        if found.is_some_and(has_left) {
            self.left_out.all_have_come();
        }
        let next_due = next_due.map(|due| now + due.min(LONGEST));
        let poll = (self.is_durable || found.is_none()).then_some(now + POLL);
        let has_found = found.is_some_and(|found| found.deliveries > 0);
        let at_once = (has_more && has_found && self.has_room()).then_some(now);
        self.has_more = has_more || found.is_none();
        for at in [next_due, poll, at_once].into_iter().flatten() {
            self.fetch_at(at);
        }
    }
}
