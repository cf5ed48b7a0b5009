use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::AbortHandle,
    time::{Instant, sleep},
};

use crate::endpoint::{HostMap, Origin};

/// An idle connection is closed after this time; most receivers keep theirs open for longer.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often the pool is swept for them.
const SWEEP: Duration = Duration::from_secs(5);
const SHARDS: usize = 16;

/// Idle connections that wait for their next attempt, and the number of all open ones.
///
/// hyper-util's own pool bounds the idle connections of a host, but not those of all hosts
/// together: a caller that names many hosts could make it keep as many connections. Here those in
/// use count as well, because each takes a file descriptor.
pub(super) struct Pool<C: Idle> {
    inner: Arc<Inner<C>>,
}

/// Counts one connection as open, from before it is opened until this is dropped.
pub(super) struct ConnectionCount {
    open: Arc<AtomicUsize>,
    _room: Option<OwnedSemaphorePermit>,
}

/// A connection that a pool can keep.
pub(super) trait Idle: Send + 'static {
    fn is_idle(&mut self) -> bool;

    /// Whether it can be used in the current runtime. It cannot be used outside the one in which it
    /// was opened: that one may have ended, or nobody may be driving it.
    fn belongs_here(&self) -> bool;
}

struct Inner<C> {
    limit: usize,
    limit_per_origin: usize,
    open: Arc<AtomicUsize>,
    room: Arc<Semaphore>,
    shards: [Mutex<Shard<C>>; SHARDS],
    /// Whether a sweeper runs: checked by every `put`, without locking the sweeper's handle.
    is_swept: AtomicBool,
    sweeper: Mutex<Option<AbortHandle>>,
}

/// The oldest come first. A list may be empty until the next sweep: it is likely to be used again.
type Shard<C> = HostMap<Origin, Vec<(Instant, C)>>;

impl<C: Idle> Pool<C> {
    /// Has at most `limit` connections open in all, and keeps at most `limit_per_origin` idle ones to
    /// each origin.
    pub(super) fn new(limit: usize, limit_per_origin: usize) -> Self {
        Self {
            inner: Arc::new(Inner {
                limit,
                limit_per_origin,
                open: Arc::default(),
                room: Arc::new(Semaphore::new(limit)),
                shards: std::array::from_fn(|_| Mutex::default()),
                is_swept: AtomicBool::new(false),
                sweeper: Mutex::new(None),
            }),
        }
    }

    /// How many connections are open or being opened.
    #[cfg(feature = "metrics")]
    pub(super) fn open(&self) -> usize {
        self.inner.open.load(Ordering::Relaxed)
    }

    /// Takes the connection that was used last. Whether the receiver has closed it in the meantime
    /// shows only when a request is sent.
    pub(super) fn take(&self, origin: &Origin) -> Option<C> {
        let mut shard = self.inner.shard(place_of(origin));
        let idle = shard.get_mut(origin)?;
        let at = idle.iter().rposition(|(_, kept)| kept.belongs_here())?;
        let (_, connection) = idle.remove(at);
        Some(connection)
    }

    /// Counts a connection that is about to be opened. If there are too many, an idle one is closed
    /// to make up for it.
    pub(super) fn count(&self, origin: &Origin) -> ConnectionCount {
        let inner = &*self.inner;
        let open = inner.open.fetch_add(1, Ordering::AcqRel);
        let counted = ConnectionCount {
            open: Arc::clone(&inner.open),
            _room: None,
        };
        if open >= inner.limit {
            inner.close_one(place_of(origin));
        }
        counted
    }

    /// The same, and waits until there is room for it. There is none only as long as attempts that
    /// were given up in another runtime, which nobody drives, have theirs.
    pub(super) async fn room(&self, origin: &Origin) -> ConnectionCount {
        let mut counted = self.count(origin);
        // It counts as open already, so `put` keeps nothing while this waits.
        counted._room = Arc::clone(&self.inner.room).acquire_owned().await.ok();
        counted
    }

    /// Keeps an idle connection, unless too many are open, or are kept to this origin.
    pub(super) fn put(&self, origin: &Origin, connection: C) {
        let inner = &*self.inner;
        let mut shard = inner.shard(place_of(origin));
        // Checked with the shard locked. `count` adds to `open` before it locks any shard to find a
        // connection to close. If it has passed this shard already, its addition is seen here, and
        // this connection is dropped; if it comes later, it finds this connection. The limit of
        // `Pool::new` relies on this.
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

    /// Starts the sweeper, unless one runs. It ends by itself once nothing is kept.
    fn have_swept(&self) {
        if !self.inner.is_swept.swap(true, Ordering::SeqCst) {
            let sweeper = Sweeper(Some(Arc::downgrade(&self.inner)));
            *lock(&self.inner.sweeper) = Some(tokio::spawn(sweeper.run()).abort_handle());
        }
    }
}

/// If its runtime ends, it is dropped midway and clears `is_swept`, so that the next `put` starts
/// another one.
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
            // Invariant: a sweeper runs as long as anything is kept. The second sweep finds what
            // was kept before it passed the shard. A `put` after that sees `is_swept` cleared, and
            // starts another sweeper.
            if !pool.sweep() || pool.is_swept.swap(true, Ordering::SeqCst) {
                // The flag may be another sweeper's by now: do not clear it on drop.
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

    /// Closes the oldest idle connection of this shard, or of the next one that has any.
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

    /// Closes connections that the receiver has closed or that were idle for too long. Returns
    /// whether any are left.
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
    // Not the bits that the map uses.
    (origin.host.hash_value() >> 32) as usize % SHARDS
}

impl Drop for ConnectionCount {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::AcqRel);
    }
}

impl<C> Drop for Inner<C> {
    fn drop(&mut self) {
        if let Some(sweeper) = lock(&self.sweeper).take() {
            sweeper.abort();
        }
    }
}

/// A poisoned lock is fine to use: no panic can leave an update half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
