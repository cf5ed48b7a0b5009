use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::admission::Reservation;

/// The reservations of deliveries that ended at once, as their endpoint is forbidden. They are held
/// for as long as if its name had no address: by when room is free again, a caller could otherwise
/// tell which names of the internal network there are.
#[derive(Default)]
pub(super) struct Quarantine {
    held: BTreeMap<(Instant, u64), Reservation>,
    number: u64,
    is_closed: bool,
}

impl Quarantine {
    pub(super) fn hold(&mut self, reservation: Reservation, until: Instant) {
        if !self.is_closed {
            self.number += 1;
            self.held.insert((until, self.number), reservation);
        }
    }

    /// Those whose time is over, to be dropped where no lock is held.
    pub(super) fn release_due(&mut self, now: Instant) -> Vec<Reservation> {
        let mut released = Vec::new();
        while let Some(first) = self.held.first_entry()
            && first.key().0 <= now
        {
            released.push(first.remove());
        }
        released
    }

    pub(super) fn next_release(&self) -> Option<Instant> {
        let (&(until, _), _) = self.held.first_key_value()?;
        Some(until)
    }

    /// Lets go of all, from now on.
    pub(super) fn close(&mut self) -> Vec<Reservation> {
        self.is_closed = true;
        std::mem::take(&mut self.held).into_values().collect()
    }
}
