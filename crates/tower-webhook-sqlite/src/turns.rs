use std::{
    thread,
    time::{Duration, Instant},
};

use rusqlite::ErrorCode;

/// This process's turns at the file's lock.
///
/// SQLite has no queue: whoever asks while the lock is free has it, and a process that commits group
/// after group frees it for some microseconds. So whoever waits asks often, and whoever has had to wait
/// lately pauses after each commit for longer than it takes others to ask.
pub(crate) struct Turns {
    timeout: Duration,
    last_wait: Option<Instant>,
}

/// Between two questions, in microseconds; at random, so that two processes get out of step.
const ASK: std::ops::RangeInclusive<u64> = 200..=800;
const PAUSE: Duration = Duration::from_millis(1);
/// For so long after it has had to wait a process pauses.
const POLITE: Duration = Duration::from_secs(2);

impl Turns {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            last_wait: None,
        }
    }

    /// Tries again while somebody else has the lock.
    pub(crate) fn wait_for<T>(
        &mut self,
        mut take: impl FnMut() -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let began = Instant::now();
        loop {
            match take() {
                Err(error) if is_busy(&error) && began.elapsed() < self.timeout => {
                    thread::sleep(Duration::from_micros(fastrand::u64(ASK)));
                    self.last_wait = Some(Instant::now());
                }
                taken => return taken,
            }
        }
    }

    /// After a commit: whoever waits has the lock now.
    pub(crate) fn give_way(&self) {
        if self.last_wait.is_some_and(|last| last.elapsed() < POLITE) {
            thread::sleep(PAUSE);
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}
