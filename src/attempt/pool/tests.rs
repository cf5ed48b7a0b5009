use std::{pin::pin, sync::atomic::AtomicBool, thread};

use futures::poll;
use tokio::runtime::Handle;

use super::*;

struct Fake {
    name: usize,
    open: Arc<AtomicBool>,
    _counted: ConnectionCount,
}

impl Idle for Fake {
    fn is_idle(&mut self) -> bool {
        self.open.load(Ordering::SeqCst)
    }

    fn belongs_here(&self) -> bool {
        true
    }
}

fn origin(host: &str) -> Origin {
    Origin {
        host: host.into(),
        port: 443,
        https: true,
    }
}

fn open(pool: &Pool<Fake>, host: &str, name: usize) -> Fake {
    Fake {
        name,
        open: Arc::new(AtomicBool::new(true)),
        _counted: pool.count(&origin(host)),
    }
}

fn keep(pool: &Pool<Fake>, host: &str, name: usize) {
    pool.put(&origin(host), open(pool, host, name));
}

fn names(pool: &Pool<Fake>, host: &str) -> Vec<usize> {
    let taken = std::iter::from_fn(|| pool.take(&origin(host)));
    taken.map(|connection| connection.name).collect()
}

fn number(pool: &Pool<Fake>) -> usize {
    pool.inner.open.load(Ordering::SeqCst)
}

#[tokio::test]
async fn the_last_one_used_comes_first() {
    let pool = Pool::new(9, 9);
    for name in 1..=3 {
        keep(&pool, "a", name);
    }
    assert!(names(&pool, "b").is_empty());
    assert_eq!(names(&pool, "a"), [3, 2, 1]);
    assert_eq!(number(&pool), 0);
}

#[tokio::test]
async fn an_origin_has_its_limit() {
    let pool = Pool::new(9, 2);
    let opened: Vec<_> = (1..=3).map(|name| open(&pool, "a", name)).collect();
    for connection in opened {
        pool.put(&origin("a"), connection);
    }
    assert_eq!(names(&pool, "a"), [2, 1]);
    let other = Origin {
        https: false,
        ..origin("a")
    };
    let connection = open(&pool, "a", 4);
    pool.put(&other, connection);
    assert!(
        names(&pool, "a").is_empty(),
        "another scheme is another origin"
    );
}

#[tokio::test]
async fn beyond_the_limit_another_one_is_closed() {
    let pool = Pool::new(2, 9);
    for (host, name) in [("a", 1), ("a", 2), ("b", 3), ("b", 4), ("b", 5)] {
        keep(&pool, host, name);
        assert!(number(&pool) <= 2);
    }
    let left = names(&pool, "a").len() + names(&pool, "b").len();
    assert_eq!(left, 2);
}

#[tokio::test]
async fn those_in_use_count_as_well() {
    let pool = Pool::new(2, 9);
    keep(&pool, "a", 1);
    keep(&pool, "a", 2);
    let third = open(&pool, "b", 3);
    assert_eq!(number(&pool), 2);
    let fourth = open(&pool, "c", 4);
    assert_eq!(number(&pool), 2);
    assert!(names(&pool, "a").is_empty());
    pool.put(&origin("b"), third);
    drop(fourth);
    assert_eq!((number(&pool), names(&pool, "b")), (1, vec![3]));
}

/// Those that were given up elsewhere count until they are closed.
#[tokio::test]
async fn no_more_are_open_than_there_is_room_for() {
    let pool = Pool::<Fake>::new(2, 9);
    let first = pool.room(&origin("a")).await;
    let _second = pool.room(&origin("b")).await;
    let host = origin("c");
    let mut third = pin!(pool.room(&host));
    assert!(poll!(third.as_mut()).is_pending());
    // What is free now is not kept, as somebody waits.
    pool.put(
        &origin("a"),
        Fake {
            name: 1,
            open: Arc::default(),
            _counted: first,
        },
    );
    assert!(names(&pool, "a").is_empty());
    assert!(poll!(third).is_ready());
}

struct Socket {
    _open: Arc<()>,
    _counted: ConnectionCount,
}

impl Idle for Socket {
    fn is_idle(&mut self) -> bool {
        true
    }

    fn belongs_here(&self) -> bool {
        true
    }
}

/// Each thread uses one connection at a time.
#[tokio::test]
async fn threads_never_have_too_many_open_together() {
    const THREADS: usize = 4;
    let runtime = Handle::current();
    let pool = Pool::new(THREADS, THREADS);
    let open = Arc::new(());
    thread::scope(|scope| {
        for thread in 1..=THREADS {
            let (pool, open, runtime) = (&pool, &open, &runtime);
            scope.spawn(move || {
                let _entered = runtime.enter();
                for turn in 0..20_000 {
                    let origin = origin(&(turn * thread % 7).to_string());
                    let socket = pool.take(&origin).unwrap_or_else(|| {
                        let _counted = pool.count(&origin);
                        let _open = Arc::clone(open);
                        Socket { _open, _counted }
                    });
                    assert!(Arc::strong_count(open) - 1 <= THREADS);
                    pool.put(&origin, socket);
                }
            });
        }
    });
    assert_eq!(
        Arc::strong_count(&open) - 1,
        pool.inner.open.load(Ordering::SeqCst)
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_idle_for_long_or_closed_is_dropped() {
    let pool = Pool::new(9, 9);
    keep(&pool, "a", 1);
    sleep(IDLE_TIMEOUT - SWEEP).await;
    keep(&pool, "a", 2);
    let closed = open(&pool, "a", 3);
    let is_open = Arc::clone(&closed.open);
    pool.put(&origin("a"), closed);
    is_open.store(false, Ordering::SeqCst);
    sleep(2 * SWEEP).await;
    assert_eq!(number(&pool), 1);
    assert_eq!(names(&pool, "a"), [2]);
    sleep(2 * SWEEP).await;
    assert_eq!(sweepers(), 0, "nothing is left to sweep");
    keep(&pool, "a", 3);
    sleep(IDLE_TIMEOUT + SWEEP).await;
    assert!(names(&pool, "a").is_empty());
}

fn sweepers() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

#[tokio::test(start_paused = true)]
async fn there_is_one_sweeper() {
    let pool = Pool::new(9, 9);
    for _ in 0..3 {
        keep(&pool, "a", 1);
        keep(&pool, "b", 2);
        assert_eq!(sweepers(), 1);
        sleep(IDLE_TIMEOUT + SWEEP).await;
        assert_eq!((sweepers(), number(&pool)), (0, 0));
    }
}

#[test]
fn the_next_runtime_sweeps_as_well() {
    let pool = Pool::new(9, 9);
    for number_before in 0..2 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            assert_eq!(number(&pool), number_before);
            keep(&pool, "a", 1);
            assert_eq!(sweepers(), 1);
        });
    }
}

#[tokio::test]
async fn nothing_outlives_the_pool() {
    let pool = Pool::new(9, 9);
    keep(&pool, "a", 1);
    drop(pool);
    tokio::task::yield_now().await;
    assert_eq!(sweepers(), 0);
}
