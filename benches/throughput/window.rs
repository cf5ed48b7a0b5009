//! Bounds how many deliveries are outstanding.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

use tokio::sync::Notify;

/// Counts deliveries in and out. Whoever waits is woken once, not by every delivery that ends.
#[derive(Default)]
pub(crate) struct Window {
    outstanding: AtomicUsize,
    wake_at: AtomicUsize,
    wake: Notify,
    lost: AtomicU64,
}

impl Window {
    pub(crate) fn enter(&self) {
        self.outstanding.fetch_add(1, SeqCst);
    }

    /// One delivery has ended, as a delivery should or otherwise.
    pub(crate) fn leave(&self, delivered: bool) {
        if !delivered {
            self.lost.fetch_add(1, SeqCst);
        }
        let left = self.outstanding.fetch_sub(1, SeqCst) - 1;
        if left == self.wake_at.load(SeqCst) {
            self.wake.notify_one();
        }
    }

    /// Waits until no more than this many are outstanding.
    pub(crate) async fn at_most(&self, number: usize) {
        self.wake_at.store(number, SeqCst);
        while self.outstanding.load(SeqCst) > number {
            self.wake.notified().await;
        }
    }

    /// Waits for room for one more. Once full, room is made for a quarter before it goes on.
    pub(crate) async fn room(&self, limit: usize) {
        if self.outstanding.load(SeqCst) >= limit {
            self.at_most(limit - limit.div_ceil(4)).await;
        }
    }

    /// How many did not get there.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(SeqCst)
    }
}
