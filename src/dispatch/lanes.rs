#[cfg(all(test, shuttle))]
mod model;

use std::{
    collections::VecDeque,
    future::Future,
    sync::{Arc, PoisonError},
};

use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    attempt::Timer,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Idle lanes that are kept: as many as one host's attempts, by default. The model has few lanes.
const MOST_IDLE: usize = if cfg!(all(test, shuttle)) { 2 } else { 64 };

/// Tasks that each run one job after the other.
///
/// The future of an attempt takes some KiB: a new task for each would have them allocated and
/// freed again and again, on different threads.
pub(super) struct Lanes<J> {
    shared: Arc<Shared<J>>,
    tasks: JoinSet<()>,
}

pub(super) trait Job: Send + 'static {
    fn run(self, timer: &mut Timer) -> impl Future<Output = ()> + Send;
}

struct Shared<J> {
    /// Each is for a lane that is idle no more.
    jobs: Mutex<VecDeque<J>>,
    /// A permit for each job.
    ready: Semaphore,
    idle: AtomicUsize,
}

impl<J: Job> Lanes<J> {
    pub(super) fn new() -> Self {
        Self {
            shared: Arc::new(Shared::new()),
            tasks: JoinSet::new(),
        }
    }

    /// Has an idle lane run this job, or a new one.
    pub(super) fn run(&mut self, job: J) {
        while self.tasks.try_join_next().is_some() {}
        if let Some(job) = self.shared.hand_over(job) {
            self.tasks.spawn(lane(Arc::clone(&self.shared), job));
        }
    }

    /// Lets idle lanes end, and each other one after its job.
    pub(super) fn close(&self) {
        self.shared.ready.close();
    }

    /// Resolves once a lane has ended; `None` when there is none.
    pub(super) async fn ended(&mut self) -> Option<()> {
        self.tasks.join_next().await.map(drop)
    }

    /// Cuts off all jobs.
    pub(super) async fn shutdown(&mut self) {
        self.tasks.shutdown().await;
        self.shared.take_all();
    }
}

async fn lane<J: Job>(shared: Arc<Shared<J>>, first: J) {
    let mut timer = Timer::default();
    first.run(&mut timer).await;
    while let Some(job) = shared.next().await {
        job.run(&mut timer).await;
    }
}

impl<J> Shared<J> {
    fn new() -> Self {
        Self {
            jobs: Mutex::default(),
            ready: Semaphore::new(0),
            idle: AtomicUsize::new(0),
        }
    }

    /// Gives the job to an idle lane, or back.
    fn hand_over(&self, job: J) -> Option<J> {
        if !self.change_idle(|idle: usize| idle.checked_sub(1)) {
            return Some(job);
        }
        self.jobs().push_back(job);
        self.ready.add_permits(1);
        None
    }

    /// `None` when the lane is to end.
    async fn next(&self) -> Option<J> {
        let one_more = |idle| (idle < MOST_IDLE).then_some(idle + 1);
        self.change_idle(one_more).then_some(())?;
        if let Ok(permit) = self.ready.acquire().await {
            permit.forget();
        }
        self.take()
    }

    fn change_idle(&self, change: impl FnMut(usize) -> Option<usize>) -> bool {
        let (set, fetch) = (Ordering::AcqRel, Ordering::Acquire);
        self.idle.fetch_update(set, fetch, change).is_ok()
    }

    fn take(&self) -> Option<J> {
        self.jobs().pop_front()
    }

    fn take_all(&self) {
        let jobs = std::mem::take(&mut *self.jobs());
        drop(jobs);
    }

    fn jobs(&self) -> MutexGuard<'_, VecDeque<J>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
