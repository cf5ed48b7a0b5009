//! Reservations: the room that webhooks take while they are under way. It is taken with a try,
//! never with a wait. Which delivery is attempted next is not decided here.

mod reservation;
mod runs;
mod share;
mod tallies;

#[cfg(feature = "metrics")]
use std::sync::atomic::AtomicUsize;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::Notify;

pub(crate) use self::{reservation::Reservation, runs::Cut, tallies::SharedTally};
use self::{
    runs::Runs,
    share::{Share, Tally, saturated},
    tallies::Tallies,
};
use crate::{
    endpoint::Host,
    event::{Events, Refusal},
};

/// The room for the webhooks that are under way: slots and bytes, in all, for each endpoint host, and
/// for each caller that the operator tells apart.
pub(crate) struct Admission {
    taken: Tally,
    limit: Share,
    hosts: Tallies,
    host_limit: Share,
    callers: Tallies,
    caller_limit: Share,
    /// What a webhook takes before anything is known of its response.
    at_first: Share,
    /// The calls that nobody waits for any more.
    runs: Mutex<Runs>,
    /// Who is told what becomes of those who have room.
    events: Events,
    is_closed: AtomicBool,
    none_is_left: Notify,
    /// Of those that have room, how many have a complete response.
    #[cfg(feature = "metrics")]
    complete: AtomicUsize,
}

pub(crate) struct Limits {
    pub(crate) outstanding: usize,
    pub(crate) outstanding_per_host: usize,
    pub(crate) outstanding_per_caller: usize,
    pub(crate) body: usize,
    /// What of a body is reserved before the handler runs.
    pub(crate) reserved_body: usize,
    pub(crate) memory: usize,
}

impl Admission {
    pub(crate) fn new(limits: &Limits, events: Events) -> Self {
        let units = Share::units_within(limits.memory);
        let body = Share::units_around(limits.body);
        let limit = Share {
            slots: saturated(limits.outstanding),
            units,
        };
        // One body fits, whatever the budget is.
        let most = (units - units / 8).max(body);
        let host_limit = Share {
            slots: saturated(limits.outstanding_per_host),
            units: most,
        };
        Self {
            taken: Tally::default(),
            limit,
            hosts: Tallies::new(),
            host_limit,
            callers: Tallies::new(),
            caller_limit: Share {
                slots: saturated(limits.outstanding_per_caller),
                units: most,
            },
            at_first: Share {
                slots: 1,
                units: Share::units_around(limits.body.min(limits.reserved_body)),
            },
            runs: Mutex::new(Runs::new(limit.half(), host_limit.half())),
            events,
            is_closed: AtomicBool::new(false),
            none_is_left: Notify::new(),
            #[cfg(feature = "metrics")]
            complete: AtomicUsize::new(0),
        }
    }

    /// What a host has taken.
    pub(crate) fn of_host(&self, host: &Host) -> SharedTally {
        self.hosts.of(host)
    }

    /// Room for one webhook to a host; of a caller, where callers are told apart.
    pub(crate) fn try_reserve(
        self: &Arc<Self>,
        of_host: SharedTally,
        caller: Option<&str>,
    ) -> Result<Reservation, Refusal> {
        let share = self.at_first;
        if !self.taken.try_take(share, self.limit) {
            return Err(Refusal::NoRoom);
        }
        // Once it is taken: whoever closes sees that, or is seen here.
        if self.is_closed.load(Ordering::SeqCst) {
            self.give_back(share);
            return Err(Refusal::NoRoom);
        }
        if !of_host.0.try_take(share, self.host_limit) {
            self.give_back(share);
            return Err(Refusal::NoRoomForHost);
        }
        let of_caller = caller.map(|caller| self.callers.of(&Host::from(caller)));
        if let Some(of_caller) = &of_caller
            && !of_caller.0.try_take(share, self.caller_limit)
        {
            of_host.0.give_back(share);
            self.give_back(share);
            return Err(Refusal::NoRoomForCaller);
        }
        Ok(Reservation::new(
            Arc::clone(self),
            share,
            of_host,
            of_caller,
        ))
    }

    /// Whether it could be taken, everywhere or nowhere.
    fn try_take_more(
        &self,
        share: Share,
        of_host: &SharedTally,
        of_caller: Option<&SharedTally>,
    ) -> bool {
        if !self.taken.try_take(share, self.limit) {
            return false;
        }
        if !of_host.0.try_take(share, self.host_limit) {
            self.give_back(share);
            return false;
        }
        if of_caller.is_some_and(|caller| !caller.0.try_take(share, self.caller_limit)) {
            of_host.0.give_back(share);
            self.give_back(share);
            return false;
        }
        true
    }

    fn give_back(&self, share: Share) {
        let left = self.taken.give_back(share);
        if left.slots == 0 {
            self.none_is_left.notify_waiters();
        }
    }

    /// Refuses everybody from now on.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
    }

    /// Resolves once every reservation is given back.
    pub(crate) async fn all_given_back(&self) {
        loop {
            // It hears of what happens from here on, also before it is polled.
            let heard = self.none_is_left.notified();
            if self.taken() == 0 {
                return;
            }
            heard.await;
        }
    }

    pub(crate) fn taken(&self) -> usize {
        self.taken.get().slots as usize
    }

    /// How many webhooks have no complete response yet.
    #[cfg(feature = "metrics")]
    pub(crate) fn pending(&self) -> usize {
        let complete = self.complete.load(Ordering::Relaxed);
        self.taken().saturating_sub(complete)
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn reserved_bytes(&self) -> usize {
        self.taken.get().bytes()
    }
}

#[cfg(test)]
mod tests;
