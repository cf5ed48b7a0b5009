use std::{
    mem,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::Delivery;

/// Deliveries that ended at once, as their endpoint is forbidden. They keep their room for as long
/// as if its name had no address: by when room is free again, a caller could otherwise tell which
/// names of the internal network there are.
#[derive(Default)]
pub(super) struct Cooling {
    has_any: AtomicBool,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    deliveries: Vec<(Instant, Delivery)>,
    is_closed: bool,
}

impl Cooling {
    pub(super) fn keep(&self, delivery: Delivery, time: Duration) {
        let mut kept = self.lock();
        if !kept.is_closed {
            kept.deliveries.push((Instant::now() + time, delivery));
            self.has_any.store(true, Ordering::Relaxed);
        }
    }

    /// Lets go of those whose time is over.
    pub(super) fn release_due(&self) {
        if !self.has_any.load(Ordering::Relaxed) {
            return;
        }
        let now = Instant::now();
        let mut kept = self.lock();
        let (due, left): (Vec<_>, Vec<_>) = mem::take(&mut kept.deliveries)
            .into_iter()
            .partition(|(until, _)| *until <= now);
        kept.deliveries = left;
        self.has_any
            .store(!kept.deliveries.is_empty(), Ordering::Relaxed);
        drop(kept);
        drop(due);
    }

    /// Lets go of all, from now on.
    pub(super) fn close(&self) {
        let mut kept = self.lock();
        kept.is_closed = true;
        let all = mem::take(&mut kept.deliveries);
        drop(kept);
        drop(all);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
