use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::AbortHandle,
    time::{Instant, sleep},
};

use super::connection::Connection;
use crate::endpoint::{HostMap, Origin};

/// An idle connection is closed after this time; most receivers keep one for longer.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often it is looked for those.
const SWEEP: Duration = Duration::from_secs(5);
const SHARDS: usize = 16;

/// Connections that wait for their next attempt, and the number of those that are open.
///
/// hyper-util's own pool bounds the idle connections of a host, but not those of all hosts
/// together: whoever names many hosts could have it keep as many connections. Here those in use
/// count as well, as each takes a file descriptor.
pub(super) struct Pool<C: Idle = Connection> {
    inner: Arc<Inner<C>>,
}

/// A connection that is counted: from before it is opened until this is dropped.
pub(super) struct Counted(Arc<AtomicUsize>);

/// What a pool can keep.
pub(super) trait Idle: Send + 'static {
    fn is_idle(&mut self) -> bool;
}

struct Inner<C> {
    limit: usize,
    limit_per_origin: usize,
    open: Arc<AtomicUsize>,
    shards: [Mutex<Shard<C>>; SHARDS],
    /// Whether a sweeper runs, so that nobody has to lock its handle to see.
    is_swept: AtomicBool,
    sweeper: Mutex<Option<AbortHandle>>,
}

/// The oldest come first. A receiver's list may be empty: it is likely to be used again.
type Shard<C> = HostMap<Origin, Vec<(Instant, C)>>;

impl Idle for Connection {
    fn is_idle(&mut self) -> bool {
        Connection::is_idle(self)
    }
}

impl<C: Idle> Pool<C> {
    /// Has so many connections open in all, while no more than that are in use, and keeps so many
    /// to each origin.
    pub(super) fn new(limit: usize, limit_per_origin: usize) -> Self {
        Self {
            inner: Arc::new(Inner {
                limit,
                limit_per_origin,
                open: Arc::default(),
                shards: std::array::from_fn(|_| Mutex::default()),
                is_swept: AtomicBool::new(false),
                sweeper: Mutex::new(None),
            }),
        }
    }

    /// The connection that was used last. Whether the receiver has closed it meanwhile shows when a
    /// request is sent.
    pub(super) fn take(&self, origin: &Origin) -> Option<C> {
        let mut shard = self.inner.shard(place_of(origin));
        let (_, connection) = shard.get_mut(origin)?.pop()?;
        Some(connection)
    }

    /// Counts a connection that is about to be opened. Where there are too many, an idle one is
    /// closed for it.
    pub(super) fn count(&self, origin: &Origin) -> Counted {
        let inner = &*self.inner;
        let open = inner.open.fetch_add(1, Ordering::AcqRel);
        let counted = Counted(Arc::clone(&inner.open));
        if open >= inner.limit {
            inner.close_one(place_of(origin));
        }
        counted
    }

    /// Keeps a connection, unless there are too many.
    pub(super) fn put(&self, origin: &Origin, connection: C) {
        let inner = &*self.inner;
        let mut shard = inner.shard(place_of(origin));
        // Looked at with the shard locked: whoever looks for one to close, and has been here
        // before, has counted already.
        if inner.open.load(Ordering::Acquire) > inner.limit {
            return;
        }
        match shard.get_mut(origin) {
            Some(idle) if idle.len() >= inner.limit_per_origin => return,
            Some(idle) => idle.push((Instant::now(), connection)),
            None => {
                shard.insert(origin.clone(), vec![(Instant::now(), connection)]);
            }
        }
        drop(shard);
        if !inner.is_swept.load(Ordering::SeqCst) {
            self.have_swept();
        }
    }

    /// Starts the sweeper, unless it runs. It ends by itself once nothing is kept.
    fn have_swept(&self) {
        if !self.inner.is_swept.swap(true, Ordering::SeqCst) {
            let sweeper = Sweeper(Some(Arc::downgrade(&self.inner)));
            *lock(&self.inner.sweeper) = Some(tokio::spawn(sweeper.run()).abort_handle());
        }
    }
}

/// Dropped half-way, as its runtime ends, it says that the pool is swept no more.
struct Sweeper<C: Idle>(Option<Weak<Inner<C>>>);

impl<C: Idle> Sweeper<C> {
    async fn run(mut self) {
        loop {
            sleep(SWEEP).await;
            let Some(pool) = self.pool() else { return };
            if pool.sweep() {
                continue;
            }
            pool.is_swept.store(false, Ordering::SeqCst);
            // Whoever keeps one after its shard was looked at here starts another sweeper.
            if !pool.sweep() || pool.is_swept.swap(true, Ordering::SeqCst) {
                self.0 = None;
                return;
            }
        }
    }

    fn pool(&self) -> Option<Arc<Inner<C>>> {
        self.0.as_ref()?.upgrade()
    }
}

impl<C: Idle> Drop for Sweeper<C> {
    fn drop(&mut self) {
        if let Some(pool) = self.pool() {
            pool.is_swept.store(false, Ordering::SeqCst);
        }
    }
}

impl<C: Idle> Inner<C> {
    fn shard(&self, at: usize) -> MutexGuard<'_, Shard<C>> {
        lock(&self.shards[at])
    }

    /// Closes the oldest connection of the shard, or of the next one that has any.
    fn close_one(&self, from: usize) {
        for at in (from..SHARDS).chain(0..from) {
            let mut shard = self.shard(at);
            let lists = shard.values_mut().filter(|idle| !idle.is_empty());
            if let Some(idle) = lists.min_by_key(|idle| idle[0].0) {
                let oldest = idle.remove(0);
                drop(shard);
                drop(oldest);
                return;
            }
        }
    }

    /// Closes what was idle for too long; whether anything is left.
    fn sweep(&self) -> bool {
        let mut left = false;
        for at in 0..SHARDS {
            let mut shard = self.shard(at);
            shard.retain(|_, idle| {
                idle.retain_mut(|(since, connection)| {
                    connection.is_idle() && since.elapsed() < IDLE_TIMEOUT
                });
                !idle.is_empty()
            });
            left |= !shard.is_empty();
        }
        left
    }
}

fn place_of(origin: &Origin) -> usize {
    // Other bits than those by which the map looks.
    (origin.host.hash_value() >> 32) as usize % SHARDS
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl<C> Drop for Inner<C> {
    fn drop(&mut self) {
        if let Some(sweeper) = lock(&self.sweeper).take() {
            sweeper.abort();
        }
    }
}

/// No update is left half done by a panic elsewhere.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
