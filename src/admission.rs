#[cfg(all(test, shuttle))]
mod model;

use std::{fmt, sync::Arc};

use crate::{
    endpoint::Host,
    event::Refusal,
    per_host::{Amount, PerHost},
    sync::{
        Notify,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

/// Room for the webhooks that are under way: places and bytes, in all and for each endpoint host.
/// It is taken with a try, never with a wait.
pub(crate) struct Admission {
    places: Count,
    /// In units of [`UNIT`] bytes, as all memory here.
    memory: Count,
    /// The most that one host may have.
    share: Share,
    hosts: PerHost<Share>,
    body_units: usize,
    is_closed: AtomicBool,
    none_is_left: Notify,
}

/// Room for one webhook, from before the handler runs until nothing of it is in memory any more.
pub(crate) struct Room {
    units: usize,
    host: Host,
    admission: Arc<Admission>,
}

/// What one host has taken.
#[derive(Clone, Copy, Default, PartialEq)]
struct Share {
    places: usize,
    units: usize,
}

/// How much of something is taken.
struct Count {
    limit: usize,
    taken: AtomicUsize,
}

pub(crate) struct Limits {
    pub(crate) outstanding: usize,
    pub(crate) outstanding_per_host: usize,
    pub(crate) body: usize,
    pub(crate) memory: usize,
}

const UNIT: usize = 1024;

impl Admission {
    pub(crate) fn new(limits: &Limits) -> Self {
        let units = limits.memory / UNIT;
        let body_units = limits.body.div_ceil(UNIT);
        Self {
            places: Count::new(limits.outstanding),
            memory: Count::new(units),
            share: Share {
                places: limits.outstanding_per_host,
                // One body fits, whatever the budget is.
                units: (units - units / 8).max(body_units),
            },
            hosts: PerHost::new(),
            body_units,
            is_closed: AtomicBool::new(false),
            none_is_left: Notify::new(),
        }
    }

    pub(crate) fn try_admit(self: &Arc<Self>, host: &Host) -> Result<Room, Refusal> {
        if !self.places.try_take(1) {
            return Err(Refusal::NoRoom);
        }
        // Once the place is taken: whoever closes sees that, or is seen here.
        let taken = match self.is_closed.load(Ordering::SeqCst) {
            true => Err(Refusal::NoRoom),
            false => self.take_rest(host),
        };
        match taken {
            Ok(()) => Ok(Room {
                units: self.body_units,
                host: host.clone(),
                admission: Arc::clone(self),
            }),
            Err(refusal) => {
                self.give_back_place();
                Err(refusal)
            }
        }
    }

    fn take_rest(&self, host: &Host) -> Result<(), Refusal> {
        let units = self.body_units;
        if !self.memory.try_take(units) {
            return Err(Refusal::NoRoom);
        }
        let taken = self.hosts.change(host, |has| {
            let fits = has.places < self.share.places && has.units + units <= self.share.units;
            if fits {
                has.places += 1;
                has.units += units;
            }
            fits
        });
        if !taken {
            self.memory.give_back(units);
            return Err(Refusal::NoRoomForHost);
        }
        Ok(())
    }

    fn give_back_place(&self) {
        if self.places.give_back(1) {
            self.none_is_left.notify_waiters();
        }
    }

    /// Refuses everybody from now on.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
    }

    /// Resolves once every room is given back.
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
        self.places.taken.load(Ordering::SeqCst)
    }
}

impl Room {
    /// Gives back what a payload of `len` bytes does not need.
    pub(crate) fn shrink_to(&mut self, len: usize) {
        let surplus = self.units.saturating_sub(len.div_ceil(UNIT));
        if surplus > 0 {
            self.units -= surplus;
            let Self {
                host, admission, ..
            } = self;
            admission.hosts.change(host, |has| has.units -= surplus);
            admission.memory.give_back(surplus);
        }
    }
}

impl Amount for Share {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl Count {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            taken: AtomicUsize::new(0),
        }
    }

    fn try_take(&self, number: usize) -> bool {
        let within = |taken: usize| taken.checked_add(number).filter(|&sum| sum <= self.limit);
        let (set, fetch) = (Ordering::SeqCst, Ordering::SeqCst);
        self.taken.fetch_update(set, fetch, within).is_ok()
    }

    /// Whether none is left.
    fn give_back(&self, number: usize) -> bool {
        self.taken.fetch_sub(number, Ordering::SeqCst) == number
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let Self {
            units,
            host,
            admission,
        } = self;
        admission.hosts.change(host, |has| {
            has.places -= 1;
            has.units -= *units;
        });
        admission.memory.give_back(*units);
        // Last, so that whoever hears that none is left finds everything given back.
        admission.give_back_place();
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
