//! What the console hears of a dispatcher: counters by minute for the plot, when the next attempts are
//! due, and that something has changed.
//!
//! A delivery pays for a few additions under a lock that nobody holds for long. It wakes no console and
//! sends nothing: streams look at a number once a second, so how many are open makes no difference to it.

mod histogram;
mod minutes;
mod retries;
mod stream;

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use serde_json::Value;
use tower_webhook::{DeliveryId, Event, EventKind, event::Outcome};

pub(crate) use self::stream::ChangeStream;
use self::{minutes::Minutes, retries::Retries};

/// What a [`Console`](crate::Console) hears of a dispatcher: for its plot, the time of next attempts, and a
/// list that follows what happens.
///
/// Subscribers are named when a dispatcher is built, so this goes to the builder first and to the console
/// afterwards. Clones share what they hear.
///
/// ```
/// use tower_webhook::Dispatcher;
/// use tower_webhook_console::{Access, ConsoleEvents, console};
///
/// let events = ConsoleEvents::new();
/// let dispatcher = Dispatcher::builder().on_event(events.subscriber()).build();
/// let console = console(&dispatcher, Access::left_to_others()).with_events(&events);
/// ```
///
/// It takes about 50 KiB, and an event allocates nothing. It hears only of this process: attempts that other
/// processes make from the same outbox are not in the plot.
#[derive(Clone)]
pub struct ConsoleEvents {
    heard: Arc<Heard>,
}

struct Heard {
    /// Grows with every event. Streams compare it with what they saw last; nothing else hangs on it.
    changes: AtomicU64,
    began: Instant,
    kept: Mutex<Kept>,
}

struct Kept {
    minutes: Minutes,
    retries: Retries,
}

impl ConsoleEvents {
    /// Has heard nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            heard: Arc::new(Heard {
                changes: AtomicU64::new(0),
                began: Instant::now(),
                kept: Mutex::new(Kept {
                    minutes: Minutes::new(),
                    retries: Retries::new(),
                }),
            }),
        }
    }

    /// What [`on_event`](tower_webhook::dispatch::DispatcherBuilder::on_event) takes.
    pub fn subscriber(&self) -> impl Fn(&Event) + Send + Sync + 'static {
        let heard = Arc::clone(&self.heard);
        move |event| heard.hear(event)
    }

    pub(crate) fn stream(&self) -> ChangeStream {
        ChangeStream::new(self.clone())
    }

    pub(crate) fn changes(&self) -> u64 {
        self.heard.changes.load(Ordering::Relaxed)
    }

    /// When the next attempt of this delivery is due, where that was told and is still ahead.
    pub(crate) fn next_attempt(&self, id: DeliveryId) -> Option<SystemTime> {
        let due = self.heard.kept().retries.due(id)?;
        (due > SystemTime::now()).then_some(due)
    }

    /// The last hour, the oldest minute first.
    pub(crate) fn last_hour(&self) -> Value {
        let minute = self.heard.minute();
        // Copied out: what follows takes longer than an event may wait.
        let minutes = self.heard.kept().minutes.clone();
        minutes.last_hour(minute)
    }
}

impl Heard {
    fn hear(&self, event: &Event) {
        if let EventKind::Attempted {
            outcome,
            took,
            again_in,
            ..
        } = event.kind()
        {
            let minute = self.minute();
            let due = again_in
                .and_then(|pause| SystemTime::now().checked_add(pause))
                .zip(event.delivery_id());
            let mut kept = self.kept();
            kept.minutes.add(minute, is_success(outcome), *took);
            if let Some((due, id)) = due {
                kept.retries.add(id, due);
            }
        }
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    fn minute(&self) -> u64 {
        self.began.elapsed().as_secs() / 60
    }

    /// Nothing panics under the lock, and what is kept is whole after every step.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_success(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Answered { status, .. } if status.is_success())
}

/// In milliseconds, as the page shows it.
fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

impl Default for ConsoleEvents {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ConsoleEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsoleEvents")
            .field("changes", &self.changes())
            .finish_non_exhaustive()
    }
}
