use std::{
    future::Future,
    sync::{Arc, atomic::Ordering},
};

use shuttle::{
    Config, Runner,
    scheduler::{PctScheduler, RandomScheduler, Scheduler},
    sync::atomic::AtomicBool,
};

const ORDERS: usize = 1_000;

/// Runs the threads that this starts in many orders of their steps. It fails when one of them
/// panics, or when all wait.
pub(crate) fn in_many_orders(run: impl Fn() + Send + Sync + 'static) {
    let run = Arc::new(run);
    let under = |scheduler: Box<dyn Scheduler + Send>| {
        let run = Arc::clone(&run);
        Runner::new(scheduler, Config::default()).run(move || run());
    };
    under(Box::new(RandomScheduler::new(ORDERS)));
    // With few changes from one thread to another, each of which then gets far.
    for changes in [2, 3] {
        under(Box::new(PctScheduler::new(changes, ORDERS)));
    }
}

/// Tokio's, of which shuttle knows nothing: each call is one step.
#[derive(Default)]
pub(crate) struct Notify {
    notify: tokio::sync::Notify,
    any: AtomicBool,
}

impl Notify {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn notified(&self) -> impl Future<Output = ()> + '_ {
        self.step();
        self.notify.notified()
    }

    pub(crate) fn notify_one(&self) {
        self.step();
        self.notify.notify_one();
    }

    pub(crate) fn notify_waiters(&self) {
        self.step();
        self.notify.notify_waiters();
    }

    /// Others may come first.
    fn step(&self) {
        self.any.load(Ordering::SeqCst);
    }
}
