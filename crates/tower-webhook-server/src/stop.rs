//! How the process ends.

use std::{future::Future, io, process::ExitCode, time::Duration};

use tokio::signal;
use tower_webhook::Dispatcher;

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

impl Stop {
    /// What comes of `drained`, unless a second signal cuts it short.
    pub(crate) async fn unless_asked_again(
        &mut self,
        drained: impl Future<Output = ExitCode>,
        dispatcher: &Dispatcher,
    ) -> ExitCode {
        tokio::select! {
            code = drained => code,
            () = self.asked() => {
                tracing::warn!(lost = dispatcher.outstanding(), "told again to stop");
                ExitCode::FAILURE
            }
        }
    }
}

/// Lets webhooks under way end in this time. It has succeeded unless some had to be given up.
pub(crate) async fn shut_down(dispatcher: &Dispatcher, within: Duration) -> ExitCode {
    let report = dispatcher.shutdown(within).await;
    let counts = dispatcher.counts();
    tracing::info!(
        accepted = counts.accepted,
        delivered = counts.delivered,
        dead = counts.dead,
        failed = counts.failed,
        abandoned = report.abandoned.len(),
        unfinished = report.unfinished,
        "drained"
    );
    match report.abandoned.is_empty() && report.unfinished == 0 {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
