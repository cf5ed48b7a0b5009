//! The outbox's own thread, with a runtime of its own that carries the connection.
//!
//! The connection is a task of the runtime in which it was opened. Calls come from any number of
//! runtimes, each of which may end before the outbox does, so it is a task of none of theirs. A call is
//! a job that is sent to this thread, and its answer is sent back.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    runtime::Builder,
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        oneshot,
    },
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{
    JetStreamOutboxError, JetStreamOutboxErrorKind as Kind,
    connect::{self, ConnectSettings},
    engine::Engine,
};

type Job = Box<dyn FnOnce(Arc<Engine>) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// How long the end waits for leases to be handed back.
const FAREWELL: Duration = Duration::from_secs(1);

/// The thread, and the way to it. Dropped, it waits until the thread has handed back what it had
/// leased, for a second at most.
#[derive(Debug)]
pub(crate) struct Thread {
    jobs: Option<UnboundedSender<Job>>,
    handle: Option<JoinHandle<()>>,
}

/// Starts the thread, and waits until it is connected and the streams are as they should be.
pub(crate) async fn start(settings: ConnectSettings) -> Result<Thread, JetStreamOutboxError> {
    let (jobs, received) = unbounded_channel();
    let (ready, is_ready) = oneshot::channel();
    let run = move || {
        // What waits for an answer is dropped with the jobs, and hears of it that way.
        if catch_unwind(AssertUnwindSafe(|| run(settings, received, ready))).is_err() {
            tracing::error!(
                "the thread of the JetStream outbox panicked: it takes nothing any more"
            );
        }
    };
    let handle = thread::Builder::new()
        .name("webhook-outbox".to_owned())
        .spawn(run)
        .map_err(|error| JetStreamOutboxError::new(Kind::Other).with_source(error))?;
    is_ready.await.map_err(|_| Kind::Gone)??;
    Ok(Thread {
        jobs: Some(jobs),
        handle: Some(handle),
    })
}

fn run(
    settings: ConnectSettings,
    jobs: UnboundedReceiver<Job>,
    ready: oneshot::Sender<Result<(), JetStreamOutboxError>>,
) {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(
                JetStreamOutboxError::new(Kind::Other).with_source(error)
            ));
            return;
        }
    };
    runtime.block_on(async {
        let engine = match connect::connect(settings).await {
            Ok(engine) => Arc::new(engine),
            Err(error) => {
                let _ = ready.send(Err(error));
                return;
            }
        };
        if ready.send(Ok(())).is_ok() {
            serve(&engine, jobs).await;
        }
        let _ = timeout(FAREWELL, engine.leave()).await;
    });
    // A connection that hangs is not waited for.
    runtime.shutdown_background();
}

async fn serve(engine: &Arc<Engine>, mut jobs: UnboundedReceiver<Job>) {
    let mut tick = interval(engine.settings.lease / 6);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            job = jobs.recv() => match job {
                Some(job) => drop(tokio::spawn(job(Arc::clone(engine)))),
                None => return,
            },
            _ = tick.tick() => {
                let engine = Arc::clone(engine);
                tokio::spawn(async move { engine.tidy().await });
            }
        }
    }
}

impl Thread {
    /// Has the thread do this, and waits for the answer. Where nobody waits for it any more,
    /// `unheard` is done with it.
    pub(crate) async fn ask<A, F, U>(
        &self,
        call: impl FnOnce(Arc<Engine>) -> F + Send + 'static,
        unheard: impl FnOnce(Arc<Engine>, A) -> U + Send + 'static,
    ) -> Result<A, JetStreamOutboxError>
    where
        A: Send + 'static,
        F: Future<Output = Result<A, JetStreamOutboxError>> + Send + 'static,
        U: Future<Output = ()> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |engine| {
            Box::pin(async move {
                let answer = call(Arc::clone(&engine)).await;
                if let Err(Ok(answer)) = reply.send(answer) {
                    unheard(engine, answer).await;
                }
            })
        });
        let jobs = self.jobs.as_ref().ok_or(Kind::Gone)?;
        jobs.send(job).map_err(|_| Kind::Gone)?;
        answer.await.map_err(|_| Kind::Gone)?
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(handle) = self.handle.take() {
            // It has caught its panics, and said so.
            let _ = handle.join();
        }
    }
}
