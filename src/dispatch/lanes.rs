#[cfg(all(test, shuttle))]
mod model;

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    sync::{Arc, PoisonError},
    task::{Context, Poll, Waker},
};

use tokio::task::{JoinSet, coop::consume_budget};

use crate::{
    attempt::Timer,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

/// Idle lanes that are kept: as many as one host's attempts, by default. The model has few lanes.
const MOST_IDLE: usize = if cfg!(all(test, shuttle)) { 2 } else { 64 };

/// Tasks that each run one job after the other.
///
/// The future of an attempt takes some KiB: a new task for each would have them allocated and
/// freed again and again, on different threads.
pub(super) struct Lanes<J, C> {
    shared: Arc<Shared<J, C>>,
    tasks: JoinSet<()>,
}

/// What a lane runs, in a context that all share. It belongs to the lanes: counted by each job, it
/// would be written to for each by every thread.
pub(super) trait Job<C>: Send + 'static {
    /// Comes to the job that the lane is to run next, if it knows one.
    fn run(self, context: &C, timer: &mut Timer) -> impl Future<Output = Option<Self>> + Send
    where
        Self: Sized;
}

struct Shared<J, C> {
    context: C,
    hall: Mutex<Hall<J>>,
    /// Changed with the hall locked.
    is_closed: AtomicBool,
}

/// Where idle lanes and jobs meet.
struct Hall<J> {
    /// For each a lane was woken that is idle no more.
    jobs: VecDeque<J>,
    /// The one that was busy last comes last, and first to a job: it is the likeliest to be in some
    /// cache still.
    idle: Vec<Idle>,
    /// So many lanes there have been.
    lanes: usize,
}

/// A lane that waits for a job.
struct Idle {
    lane: usize,
    waker: Waker,
}

impl<J: Job<C>, C: Send + Sync + 'static> Lanes<J, C> {
    pub(super) fn new(context: C) -> Self {
        Self {
            shared: Arc::new(Shared::new(context)),
            tasks: JoinSet::new(),
        }
    }

    /// Has an idle lane run this job, or a new one.
    pub(super) fn run(&mut self, job: J) {
        // More have ended than idle ones are kept.
        if self.tasks.len() > 2 * MOST_IDLE {
            while self.tasks.try_join_next().is_some() {}
        }
        if let Some(job) = self.shared.hand_over(job) {
            self.tasks.spawn(lane(Arc::clone(&self.shared), job));
        }
    }

    /// Lets idle lanes end, and each other one after its job.
    pub(super) fn close(&self) {
        self.shared.close();
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

async fn lane<J: Job<C>, C>(shared: Arc<Shared<J, C>>, first: J) {
    let number = shared.number();
    let mut timer = Timer::default();
    let mut next = Some(first);
    while let Some(job) = next {
        next = job
            .run(&shared.context, &mut timer)
            .await
            .filter(|_| !shared.is_closed());
        match next {
            // There may always be one.
            Some(_) => consume_budget().await,
            None => next = poll_fn(|cx| shared.poll_next(number, cx)).await,
        }
    }
}

impl<J, C> Shared<J, C> {
    fn new(context: C) -> Self {
        Self {
            context,
            hall: Mutex::new(Hall {
                jobs: VecDeque::new(),
                idle: Vec::new(),
                lanes: 0,
            }),
            is_closed: AtomicBool::new(false),
        }
    }

    fn number(&self) -> usize {
        let mut hall = self.hall();
        hall.lanes += 1;
        hall.lanes
    }

    /// Gives the job to an idle lane, or back.
    fn hand_over(&self, job: J) -> Option<J> {
        let mut hall = self.hall();
        let Some(Idle { waker, .. }) = hall.idle.pop() else {
            return Some(job);
        };
        hall.jobs.push_back(job);
        drop(hall);
        waker.wake();
        None
    }

    /// `None` when the lane is to end.
    ///
    /// A lane may be polled without having been woken for a job: by what its last one waited for.
    fn poll_next(&self, lane: usize, cx: &mut Context<'_>) -> Poll<Option<J>> {
        let mut hall = self.hall();
        hall.idle.retain(|idle| idle.lane != lane);
        if let Some(job) = hall.jobs.pop_front() {
            return Poll::Ready(Some(job));
        }
        if self.is_closed() || hall.idle.len() >= MOST_IDLE {
            return Poll::Ready(None);
        }
        let waker = cx.waker().clone();
        hall.idle.push(Idle { lane, waker });
        Poll::Pending
    }

    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    fn close(&self) {
        let mut hall = self.hall();
        self.is_closed.store(true, Ordering::SeqCst);
        for Idle { waker, .. } in hall.idle.drain(..) {
            waker.wake();
        }
    }

    fn take_all(&self) {
        let jobs = std::mem::take(&mut self.hall().jobs);
        drop(jobs);
    }

    /// Every update is a small one: a panic elsewhere leaves none half done.
    fn hall(&self) -> MutexGuard<'_, Hall<J>> {
        self.hall.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
