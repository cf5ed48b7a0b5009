use std::io;

use tokio::signal;

/// SIGTERM, from whatever runs the process, and SIGINT, from Ctrl-C.
#[cfg(unix)]
pub(crate) struct Stop {
    terminate: signal::unix::Signal,
    interrupt: signal::unix::Signal,
}

#[cfg(unix)]
impl Stop {
    /// From here on the signals no longer end the process by themselves.
    pub(crate) fn new() -> io::Result<Self> {
        use signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Resolves when the process is told to stop; each signal counts once.
    pub(crate) async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Ctrl-C.
#[cfg(not(unix))]
pub(crate) struct Stop;

#[cfg(not(unix))]
impl Stop {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self)
    }

    pub(crate) async fn asked(&mut self) {
        if signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}
