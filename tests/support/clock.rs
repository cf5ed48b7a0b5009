//! A clock that goes on when it is told to.

use std::{sync::mpsc, time::Duration};

use super::BACKSTOP;

/// Tokio's clock, stopped while sockets do their work.
///
/// A paused clock goes on by itself whenever the runtime is idle, which it also is while a packet
/// is on its way. It does not while a blocking task runs.
pub(crate) struct Clock {
    _stopped: mpsc::Sender<()>,
}

impl Clock {
    pub(crate) fn stop() -> Self {
        tokio::time::pause();
        let (stopped, going) = mpsc::channel::<()>();
        // A test that is stuck runs into its backstop when the clock goes on.
        tokio::task::spawn_blocking(move || going.recv_timeout(3 * BACKSTOP));
        Self { _stopped: stopped }
    }

    /// Whatever waits for its next attempt is due then.
    pub(crate) async fn to_the_next_attempt(&self) {
        self.forward(Duration::from_secs(5)).await;
    }

    pub(crate) async fn forward(&self, by: Duration) {
        // Timers are rounded up to the next millisecond.
        tokio::time::advance(by + Duration::from_millis(1)).await;
    }
}
