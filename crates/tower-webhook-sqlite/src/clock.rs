use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// The wall clock, which tests can set.
#[derive(Clone)]
pub(crate) struct Clock {
    now: Arc<dyn Fn() -> SystemTime + Send + Sync>,
}

/// Notices that the wall clock was set back.
pub(crate) struct Watch {
    started: Instant,
    /// What the wall clock shows, less the time since the start.
    offset: i64,
}

/// Smaller steps are how clocks are usually kept right.
const A_STEP_MS: i64 = 1_000;

impl Clock {
    pub(crate) fn system() -> Self {
        Self {
            now: Arc::new(SystemTime::now),
        }
    }

    #[cfg(test)]
    pub(crate) fn of(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self { now: Arc::new(now) }
    }

    /// Milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> i64 {
        to_ms((self.now)())
    }
}

impl Watch {
    pub(crate) fn new(clock: &Clock) -> Self {
        Self {
            started: Instant::now(),
            offset: clock.now_ms(),
        }
    }

    /// Whether the clock was set back since the last call.
    pub(crate) fn was_set_back(&mut self, clock: &Clock) -> bool {
        let offset = clock.now_ms() - duration_to_ms(self.started.elapsed());
        let set_back = offset < self.offset - A_STEP_MS;
        self.offset = offset;
        set_back
    }
}

/// A time before 1970 reads as 1970.
pub(crate) fn to_ms(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, duration_to_ms)
}

/// The end of the year 9999. A row that somebody has edited may have any number.
const LATEST: Duration = Duration::from_secs(253_402_300_799);

pub(crate) fn from_ms(ms: i64) -> SystemTime {
    let since = Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    UNIX_EPOCH + since.min(LATEST)
}

/// A century at most, so that sums with it do not overflow.
pub(crate) fn duration_to_ms(duration: Duration) -> i64 {
    const CENTURY_MS: i64 = 100 * 366 * 24 * 3_600 * 1_000;
    i64::try_from(duration.as_millis()).map_or(CENTURY_MS, |ms| ms.min(CENTURY_MS))
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_out_of_range_are_brought_into_it() {
        assert_eq!(from_ms(-5), UNIX_EPOCH);
        assert_eq!(from_ms(5), UNIX_EPOCH + Duration::from_millis(5));
        assert_eq!(from_ms(i64::MAX), UNIX_EPOCH + LATEST);
    }
}
