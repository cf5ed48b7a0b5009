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
        atomic::{AtomicUsize, Ordering},
    },
};

/// Idle lanes that are kept: as many as one host's attempts, by default. The model has few lanes.
const MOST_IDLE: usize = if cfg!(all(test, shuttle)) { 2 } else { 64 };

/// Tasks that each run one job after the other.
///
/// The future of an attempt takes some KiB: a new task for each would have them allocated and
/// freed again and again, on different threads.
///
/// They are closed when this is dropped, and cut off.
pub(super) struct Lanes<J, C> {
    hall: Arc<Hall<J, C>>,
    /// Whose hall it is while it is theirs.
    opening: usize,
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

/// Where idle lanes and jobs meet. It is there before its lanes and after them: one worker's come
/// after another's, and those of a runtime that ends may be about when the next ones come.
pub(super) struct Hall<J, C> {
    context: C,
    waiting: Mutex<Waiting<J>>,
    /// The opening that it is open for; 0 while it is closed. Changed with `waiting` locked.
    open_for: AtomicUsize,
}

struct Waiting<J> {
    /// For each a lane was woken that is idle no more.
    jobs: VecDeque<J>,
    /// The one that was busy last comes last, and first to a job: it is the likeliest to be in some
    /// cache still.
    idle: Vec<Idle>,
    /// So many lanes there have been.
    lanes: usize,
    /// So often it was opened.
    openings: usize,
}

/// A lane that waits for a job.
struct Idle {
    lane: usize,
    waker: Waker,
}

impl<J: Job<C>, C: Send + Sync + 'static> Lanes<J, C> {
    /// Opens the hall for lanes.
    pub(super) fn new(hall: Arc<Hall<J, C>>) -> Self {
        let opening = hall.open();
        Self {
            hall,
            opening,
            tasks: JoinSet::new(),
        }
    }

    /// Has an idle lane run this job, or a new one.
    pub(super) fn run(&mut self, job: J) {
        // More have ended than idle ones are kept.
        if self.tasks.len() > 2 * MOST_IDLE {
            while self.tasks.try_join_next().is_some() {}
        }
        if let Some(job) = self.hall.hand_over(job) {
            let lane = lane(Arc::clone(&self.hall), self.opening, job);
            self.tasks.spawn(lane);
        }
    }

    /// Lets idle lanes end, and each other one after its job.
    pub(super) fn close(&self) {
        self.hall.close(self.opening);
    }

    /// Resolves once a lane has ended; `None` when there is none.
    pub(super) async fn ended(&mut self) -> Option<()> {
        self.tasks.join_next().await.map(drop)
    }

    /// Cuts off all jobs.
    pub(super) async fn shutdown(&mut self) {
        self.tasks.shutdown().await;
    }
}

impl<J, C> Drop for Lanes<J, C> {
    fn drop(&mut self) {
        self.hall.close(self.opening);
        self.hall.take_all(self.opening);
    }
}

async fn lane<J: Job<C>, C>(hall: Arc<Hall<J, C>>, opening: usize, first: J) {
    let number = hall.number();
    let mut timer = Timer::default();
    let mut next = Some(first);
    while let Some(job) = next {
        next = job
            .run(&hall.context, &mut timer)
            .await
            .filter(|_| hall.is_open_for(opening));
        match next {
            // There may always be one.
            Some(_) => consume_budget().await,
            None => next = poll_fn(|cx| hall.poll_next(number, opening, cx)).await,
        }
    }
}

impl<J, C> Hall<J, C> {
    /// A closed one.
    pub(super) fn new(context: C) -> Self {
        Self {
            context,
            waiting: Mutex::new(Waiting {
                jobs: VecDeque::new(),
                idle: Vec::new(),
                lanes: 0,
                openings: 0,
            }),
            open_for: AtomicUsize::new(0),
        }
    }

    /// What all jobs share.
    pub(super) fn context(&self) -> &C {
        &self.context
    }

    fn open(&self) -> usize {
        let mut waiting = self.waiting();
        waiting.openings += 1;
        self.open_for.store(waiting.openings, Ordering::SeqCst);
        waiting.openings
    }

    fn number(&self) -> usize {
        let mut waiting = self.waiting();
        waiting.lanes += 1;
        waiting.lanes
    }

    /// Gives the job to an idle lane, or back.
    pub(super) fn hand_over(&self, job: J) -> Option<J> {
        let mut waiting = self.waiting();
        let Some(Idle { waker, .. }) = waiting.idle.pop() else {
            return Some(job);
        };
        waiting.jobs.push_back(job);
        drop(waiting);
        waker.wake();
        None
    }

    /// `None` when the lane is to end.
    ///
    /// A lane may be polled without having been woken for a job: by what its last one waited for.
    fn poll_next(&self, lane: usize, opening: usize, cx: &mut Context<'_>) -> Poll<Option<J>> {
        let mut waiting = self.waiting();
        if waiting.openings != opening {
            return Poll::Ready(None);
        }
        waiting.idle.retain(|idle| idle.lane != lane);
        if let Some(job) = waiting.jobs.pop_front() {
            return Poll::Ready(Some(job));
        }
        if !self.is_open_for(opening) || waiting.idle.len() >= MOST_IDLE {
            return Poll::Ready(None);
        }
        let waker = cx.waker().clone();
        waiting.idle.push(Idle { lane, waker });
        Poll::Pending
    }

    fn is_open_for(&self, opening: usize) -> bool {
        self.open_for.load(Ordering::SeqCst) == opening
    }

    fn close(&self, opening: usize) {
        let mut waiting = self.waiting();
        if waiting.openings == opening {
            self.open_for.store(0, Ordering::SeqCst);
            for Idle { waker, .. } in waiting.idle.drain(..) {
                waker.wake();
            }
        }
    }

    /// Drops the jobs for which no lane comes any more.
    fn take_all(&self, opening: usize) {
        let mut waiting = self.waiting();
        if waiting.openings == opening {
            let jobs = std::mem::take(&mut waiting.jobs);
            drop(waiting);
            drop(jobs);
        }
    }

    /// Every update is a small one: a panic elsewhere leaves none half done.
    fn waiting(&self) -> MutexGuard<'_, Waiting<J>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
