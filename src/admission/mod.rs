//! Reservations: the room that webhooks take while they are under way. It is taken with a try,
//! never with a wait. Which delivery is attempted next is not decided here.

mod hosts;
mod share;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::Notify;

pub(crate) use self::hosts::HostTally;
use self::{
    hosts::Hosts,
    share::{Share, Tally, saturated},
};
use crate::{
    endpoint::Host,
    event::{Events, Refusal},
};

/// The room for the webhooks that are under way: slots and bytes, in all and for each endpoint
/// host.
pub(crate) struct Admission {
    taken: Tally,
    limit: Share,
    hosts: Hosts,
    host_limit: Share,
    /// What a webhook takes before anything is known of its response.
    at_first: Share,
    /// Who is told what becomes of those who have room.
    events: Events,
    is_closed: AtomicBool,
    none_is_left: Notify,
}

/// The room that one webhook takes, from before the handler runs until its delivery is settled, or
/// safe in a durable outbox. Dropped, it is given back.
pub(crate) struct Reservation {
    share: Share,
    of_host: HostTally,
    admission: Arc<Admission>,
}

pub(crate) struct Limits {
    pub(crate) outstanding: usize,
    pub(crate) outstanding_per_host: usize,
    pub(crate) body: usize,
    pub(crate) memory: usize,
}

impl Admission {
    pub(crate) fn new(limits: &Limits, events: Events) -> Self {
        let units = Share::units_within(limits.memory);
        let body = Share::units_around(limits.body);
        Self {
            taken: Tally::default(),
            limit: Share {
                slots: saturated(limits.outstanding),
                units,
            },
            hosts: Hosts::new(),
            host_limit: Share {
                slots: saturated(limits.outstanding_per_host),
                // One body fits, whatever the budget is.
                units: (units - units / 8).max(body),
            },
            at_first: Share {
                slots: 1,
                units: body,
            },
            events,
            is_closed: AtomicBool::new(false),
            none_is_left: Notify::new(),
        }
    }

    /// What a host has taken.
    pub(crate) fn of_host(&self, host: &Host) -> HostTally {
        self.hosts.of(host)
    }

    pub(crate) fn try_reserve(
        self: &Arc<Self>,
        of_host: HostTally,
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
        Ok(Reservation {
            share,
            of_host,
            admission: Arc::clone(self),
        })
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
}

impl Reservation {
    /// Who is told what becomes of it.
    pub(crate) fn events(&self) -> &Events {
        &self.admission.events
    }

    /// Gives back what a payload of `len` bytes does not need.
    pub(crate) fn shrink_to(&mut self, len: usize) {
        let needed = Share::units_around(len).min(self.share.units);
        let surplus = Share::units(self.share.units - needed);
        if surplus != Share::default() {
            self.share.units = needed;
            self.of_host.0.give_back(surplus);
            self.admission.give_back(surplus);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.of_host.0.give_back(self.share);
        // Last, so that whoever hears that none is left finds everything given back.
        self.admission.give_back(self.share);
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
