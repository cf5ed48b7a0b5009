use std::{
    hash::{Hash, Hasher},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    task::AbortHandle,
    time::{Instant, sleep},
};

use super::connection::Connection;
use crate::{
    Endpoint,
    endpoint::{Host, HostMap},
};

/// An idle connection is closed after this time; most receivers keep one for longer.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often it is looked for those.
const SWEEP: Duration = Duration::from_secs(5);
const SHARDS: usize = 16;

/// Connections that wait for their next attempt.
///
/// hyper-util's own pool bounds the idle connections of a host, but not those of all hosts
/// together: whoever names many hosts could have it keep as many connections.
pub(super) struct Pool<C: Idle = Connection> {
    inner: Arc<Inner<C>>,
}

/// What a pool can keep.
pub(super) trait Idle: Send + 'static {
    fn is_idle(&mut self) -> bool;
}

struct Inner<C> {
    limit: usize,
    limit_per_origin: usize,
    kept: AtomicUsize,
    shards: [Mutex<Shard<C>>; SHARDS],
    sweeper: Mutex<Option<AbortHandle>>,
}

/// The oldest come first. A receiver's list may be empty: it is likely to be used again.
type Shard<C> = HostMap<Origin, Vec<(Instant, C)>>;

/// Whom a connection leads to.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Origin {
    host: Host,
    port: u16,
    https: bool,
}

impl Origin {
    pub(super) fn of(endpoint: &Endpoint) -> Self {
        Self {
            host: endpoint.host_key().clone(),
            port: endpoint.port(),
            https: endpoint.is_https(),
        }
    }
}

impl Hash for Origin {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Most hosts have one port and one scheme.
        let rest = u64::from(self.port) << 1 | u64::from(self.https);
        state.write_u64(self.host.hash_value() ^ rest);
    }
}

impl Idle for Connection {
    fn is_idle(&mut self) -> bool {
        Connection::is_idle(self)
    }
}

impl<C: Idle> Pool<C> {
    /// Keeps so many connections in all, and to each origin.
    pub(super) fn new(limit: usize, limit_per_origin: usize) -> Self {
        Self {
            inner: Arc::new(Inner {
                limit,
                limit_per_origin,
                kept: AtomicUsize::new(0),
                shards: std::array::from_fn(|_| Mutex::default()),
                sweeper: Mutex::new(None),
            }),
        }
    }

    /// The connection that was used last. Whether the receiver has closed it meanwhile shows when a
    /// request is sent.
    pub(super) fn take(&self, origin: &Origin) -> Option<C> {
        let inner = &*self.inner;
        let mut shard = inner.shard(place_of(origin));
        let (_, connection) = shard.get_mut(origin)?.pop()?;
        inner.kept.fetch_sub(1, Ordering::AcqRel);
        Some(connection)
    }

    /// Keeps a connection. Where there are too many, an older one is closed for it.
    pub(super) fn put(&self, origin: Origin, connection: C) {
        let inner = &*self.inner;
        if inner.kept.fetch_add(1, Ordering::AcqRel) >= inner.limit {
            inner.close_one(place_of(&origin));
        }
        let mut shard = inner.shard(place_of(&origin));
        let idle = shard.entry(origin).or_default();
        if idle.len() >= inner.limit_per_origin {
            inner.kept.fetch_sub(1, Ordering::AcqRel);
            return;
        }
        idle.push((Instant::now(), connection));
        drop(shard);
        self.have_swept();
    }

    /// Starts the sweeper, unless it runs. It ends by itself once nothing is kept.
    fn have_swept(&self) {
        let mut sweeper = lock(&self.inner.sweeper);
        if sweeper.as_ref().is_none_or(AbortHandle::is_finished) {
            let sweeping = sweep(Arc::downgrade(&self.inner));
            *sweeper = Some(tokio::spawn(sweeping).abort_handle());
        }
    }
}

async fn sweep<C: Idle>(pool: Weak<Inner<C>>) {
    loop {
        sleep(SWEEP).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut sweeper = lock(&pool.sweeper);
        if !pool.sweep() {
            *sweeper = None;
            return;
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
                self.kept.fetch_sub(1, Ordering::AcqRel);
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
                let before = idle.len();
                idle.retain_mut(|(since, connection)| {
                    connection.is_idle() && since.elapsed() < IDLE_TIMEOUT
                });
                self.kept.fetch_sub(before - idle.len(), Ordering::AcqRel);
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
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    struct Fake {
        name: usize,
        open: Arc<AtomicBool>,
    }

    impl Idle for Fake {
        fn is_idle(&mut self) -> bool {
            self.open.load(Ordering::SeqCst)
        }
    }

    fn fake(name: usize) -> Fake {
        let open = Arc::new(AtomicBool::new(true));
        Fake { name, open }
    }

    fn origin(host: &str) -> Origin {
        Origin {
            host: host.into(),
            port: 443,
            https: true,
        }
    }

    fn names(pool: &Pool<Fake>, host: &str) -> Vec<usize> {
        let taken = std::iter::from_fn(|| pool.take(&origin(host)));
        taken.map(|connection| connection.name).collect()
    }

    #[tokio::test]
    async fn the_last_one_used_comes_first() {
        let pool = Pool::new(9, 9);
        for name in 1..=3 {
            pool.put(origin("a"), fake(name));
        }
        assert!(names(&pool, "b").is_empty());
        assert_eq!(names(&pool, "a"), [3, 2, 1]);
        assert_eq!(pool.inner.kept.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn an_origin_has_its_limit() {
        let pool = Pool::new(9, 2);
        for name in 1..=3 {
            pool.put(origin("a"), fake(name));
        }
        assert_eq!(names(&pool, "a"), [2, 1]);
        let other = Origin {
            https: false,
            ..origin("a")
        };
        pool.put(other, fake(4));
        assert!(
            names(&pool, "a").is_empty(),
            "another scheme is another origin"
        );
    }

    #[tokio::test]
    async fn beyond_the_limit_another_one_is_closed() {
        let pool = Pool::new(2, 9);
        for (host, name) in [("a", 1), ("a", 2), ("b", 3), ("b", 4), ("b", 5)] {
            pool.put(origin(host), fake(name));
            assert!(pool.inner.kept.load(Ordering::SeqCst) <= 2);
        }
        let left = names(&pool, "a").len() + names(&pool, "b").len();
        assert_eq!(left, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_idle_for_long_or_closed_is_dropped() {
        let pool = Pool::new(9, 9);
        pool.put(origin("a"), fake(1));
        sleep(IDLE_TIMEOUT - SWEEP).await;
        pool.put(origin("a"), fake(2));
        let closed = fake(3);
        let open = Arc::clone(&closed.open);
        pool.put(origin("a"), closed);
        open.store(false, Ordering::SeqCst);
        sleep(2 * SWEEP).await;
        assert_eq!(pool.inner.kept.load(Ordering::SeqCst), 1);
        assert_eq!(names(&pool, "a"), [2]);
        sleep(2 * SWEEP).await;
        assert!(
            lock(&pool.inner.sweeper).is_none(),
            "nothing is left to sweep"
        );
        pool.put(origin("a"), fake(3));
        sleep(IDLE_TIMEOUT + SWEEP).await;
        assert!(names(&pool, "a").is_empty());
    }

    #[tokio::test]
    async fn nothing_outlives_the_pool() {
        let pool = Pool::new(9, 9);
        pool.put(origin("a"), fake(1));
        drop(pool);
        tokio::task::yield_now().await;
        let tasks = tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks();
        assert_eq!(tasks, 0);
    }
}
