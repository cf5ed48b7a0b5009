use std::{cell::Cell, future::Future, sync::mpsc, time::Duration};

use tokio::{runtime::Handle, sync::oneshot, task::yield_now};

/// A backstop in real time, whatever the runtime's clock says.
pub(crate) async fn within<T>(awaited: impl Future<Output = T>) -> T {
    let (_done, waiting) = mpsc::channel::<()>();
    let (too_late, late) = oneshot::channel();
    std::thread::spawn(move || {
        if waiting.recv_timeout(Duration::from_secs(60)) == Err(mpsc::RecvTimeoutError::Timeout) {
            let _ = too_late.send(());
        }
    });
    tokio::select! {
        biased;
        value = awaited => value,
        Ok(()) = late => panic!("waited for a minute"),
    }
}

/// Waits until the runtime has no task any more. What a test started itself must be over.
pub(crate) async fn no_task_is_left() {
    let tasks = || Handle::current().metrics().num_alive_tasks();
    within(async {
        while tasks() > 0 {
            yield_now().await;
        }
    })
    .await;
}

thread_local! {
    /// Each test has a thread of its own, and its clock.
    static PAUSED: Cell<bool> = const { Cell::new(false) };
}

/// From now on time goes by only when there is nothing else to do, and then at once.
pub(crate) fn pause() {
    if !PAUSED.replace(true) {
        tokio::time::pause();
    }
}

pub(crate) fn resume() {
    if PAUSED.replace(false) {
        tokio::time::resume();
    }
}

pub(crate) fn is_paused() -> bool {
    PAUSED.get()
}
