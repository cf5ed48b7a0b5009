use std::{fmt, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    event::Refusal,
    host_counts::{HostCounts, HostPlace},
};

/// Room for the webhooks that are under way: places in all, places for each endpoint host, and
/// bytes. It is taken with a try, never with a wait.
pub(crate) struct Admission {
    places: Arc<Semaphore>,
    all_places: u32,
    hosts: HostCounts,
    /// In units of [`UNIT`] bytes.
    memory: Arc<Semaphore>,
    body_units: u32,
}

/// Room for one webhook, from before the handler runs until nothing of it is in memory any more.
pub(crate) struct Room {
    memory: OwnedSemaphorePermit,
    _host: HostPlace,
    _place: OwnedSemaphorePermit,
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
        let all_places = limits.outstanding.min(Semaphore::MAX_PERMITS);
        let all_places = u32::try_from(all_places).unwrap_or(u32::MAX);
        Self {
            places: Arc::new(Semaphore::new(all_places as usize)),
            all_places,
            hosts: HostCounts::new(limits.outstanding_per_host),
            memory: Arc::new(Semaphore::new(
                (limits.memory / UNIT).min(Semaphore::MAX_PERMITS),
            )),
            body_units: units(limits.body),
        }
    }

    pub(crate) fn try_admit(&self, host: Arc<str>) -> Result<Room, Refusal> {
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| Refusal::NoRoom)?;
        let host = self.hosts.try_take(host).ok_or(Refusal::NoRoomForHost)?;
        let memory = Arc::clone(&self.memory)
            .try_acquire_many_owned(self.body_units)
            .map_err(|_| Refusal::NoRoom)?;
        Ok(Room {
            memory,
            _host: host,
            _place: place,
        })
    }

    /// Refuses everybody from now on.
    pub(crate) fn close(&self) {
        self.memory.close();
    }

    /// Resolves once every room is given back.
    pub(crate) async fn all_given_back(&self) {
        // Never an error: the places' semaphore is not closed.
        let _all = self.places.acquire_many(self.all_places).await;
    }

    pub(crate) fn taken(&self) -> usize {
        self.all_places as usize - self.places.available_permits()
    }
}

impl Room {
    /// Gives back what a payload of `len` bytes does not need.
    pub(crate) fn shrink_to(&mut self, len: usize) {
        let surplus = self
            .memory
            .num_permits()
            .saturating_sub(units(len) as usize);
        drop(self.memory.split(surplus));
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(outstanding: usize, per_host: usize, body: usize, memory: usize) -> Admission {
        Admission::new(&Limits {
            outstanding,
            outstanding_per_host: per_host,
            body,
            memory,
        })
    }

    fn refusal(admission: &Admission, host: &str) -> Option<Refusal> {
        admission.try_admit(host.into()).err()
    }

    #[test]
    fn places_run_out_and_come_back() {
        let admission = admission(2, 2, 0, 0);
        let first = admission.try_admit("a".into()).unwrap();
        let _second = admission.try_admit("b".into()).unwrap();
        assert_eq!(refusal(&admission, "c"), Some(Refusal::NoRoom));
        assert_eq!(admission.taken(), 2);
        drop(first);
        assert_eq!(refusal(&admission, "c"), None);
    }

    #[test]
    fn a_host_has_its_share() {
        let admission = admission(9, 1, 0, 0);
        let _room = admission.try_admit("a".into()).unwrap();
        assert_eq!(refusal(&admission, "a"), Some(Refusal::NoRoomForHost));
        assert_eq!(refusal(&admission, "b"), None);
        assert_eq!(admission.taken(), 1, "a refusal gives back what it took");
    }

    #[test]
    fn the_surplus_of_memory_is_given_back() {
        let admission = admission(9, 9, 4 * UNIT, 4 * UNIT);
        let mut room = admission.try_admit("a".into()).unwrap();
        assert_eq!(refusal(&admission, "a"), Some(Refusal::NoRoom));
        room.shrink_to(1);
        assert_eq!(admission.memory.available_permits(), 3);
        room.shrink_to(4 * UNIT);
        assert_eq!(admission.memory.available_permits(), 3, "never grows");
        drop(room);
        assert_eq!(refusal(&admission, "a"), None);
    }

    #[tokio::test]
    async fn closing_refuses_and_waits() {
        let admission = admission(9, 9, UNIT, UNIT);
        let room = admission.try_admit("a".into()).unwrap();
        admission.close();
        assert_eq!(refusal(&admission, "a"), Some(Refusal::NoRoom));
        let waiting = admission.all_given_back();
        tokio::pin!(waiting);
        assert!(futures::poll!(&mut waiting).is_pending());
        drop(room);
        waiting.await;
    }
}
