//! The outbox's own thread, with a runtime of its own that carries the connections.
//!
//! A connection is driven by a task of the runtime in which it was opened. Calls come from any number of
//! runtimes, each of which may shut down before the outbox does, so connections must not live in any of
//! them. A call is a message to this thread and a response over a oneshot channel.
//!
//! Each kind of call has its own loop, which runs one transaction at a time. Inserts and settlements that
//! queue up meanwhile share the next transaction.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    thread::{self, JoinHandle},
    time::Duration,
};

use futures_util::future::{join, join4};
use tokio::{
    runtime::{Builder, Runtime},
    sync::{Notify, oneshot, watch},
    task::LocalSet,
};
use tower_webhook::outbox::Sealing;

use crate::{
    PostgresOutboxError, PostgresOutboxErrorKind as Kind,
    bounds::{Bounds, HistorySettings},
    command::{Receivers, Senders, queues},
    fleet::FleetLimit,
    keys, lease,
    lease::Leaser,
    migrations,
    name::SchemaName,
    transaction::Transactions,
    upkeep::Upkeep,
};

pub(crate) struct Settings {
    pub(crate) schema: SchemaName,
    pub(crate) sealing: Sealing,
    pub(crate) lost_keys: bool,
    pub(crate) migrates: bool,
    pub(crate) timeout: Duration,
    pub(crate) lease: Duration,
    pub(crate) fleet_limit: Option<FleetLimit>,
    pub(crate) dead_letters: Bounds,
    pub(crate) history: HistorySettings,
}

/// State shared by the loops.
pub(crate) struct Shared {
    pub(crate) transactions: Transactions,
    pub(crate) settings: Settings,
    pub(crate) leaser: Leaser,
    pub(crate) upkeep: Notify,
    pub(crate) has_ended: Cell<bool>,
    pub(crate) has_died: Cell<bool>,
}

/// Starts the thread. It reports through `ready` whether the schema is usable, and ends when nobody waits for
/// that, or the senders are dropped.
pub(crate) fn start(
    transactions: Transactions,
    settings: Settings,
    ready: oneshot::Sender<Result<(), PostgresOutboxError>>,
) -> Result<(Senders, JoinHandle<()>), PostgresOutboxError> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|_| Kind::Other)?;
    let (senders, receivers) = queues();
    let run = move || {
        let ran = catch_unwind(AssertUnwindSafe(|| {
            run(runtime, transactions, settings, receivers, ready);
        }));
        // Pending calls are dropped with the queues, and fail with `Gone`.
        if ran.is_err() {
            tracing::error!(
                "the thread of the PostgreSQL outbox panicked: it takes nothing any more"
            );
        }
    };
    let handle = thread::Builder::new()
        .name("webhook-outbox".to_owned())
        .spawn(run)
        .map_err(|_| Kind::Other)?;
    Ok((senders, handle))
}

fn run(
    runtime: Runtime,
    transactions: Transactions,
    settings: Settings,
    receivers: Receivers,
    mut ready: oneshot::Sender<Result<(), PostgresOutboxError>>,
) {
    let shared = Rc::new(Shared {
        leaser: Leaser::new(settings.lease),
        transactions,
        settings,
        upkeep: Notify::new(),
        has_ended: false.into(),
        has_died: false.into(),
    });
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let prepared = tokio::select! {
            prepared = shared.prepare() => prepared,
            () = ready.closed() => Err(Kind::Gone.into()),
        };
        let is_fine = prepared.is_ok();
        if ready.send(prepared).is_ok() && is_fine {
            shared.serve(receivers).await;
        }
        shared.transactions.finish().await;
    });
    // Does not wait for connections that hang.
    drop(shared);
    runtime.shutdown_background();
}

impl Shared {
    async fn prepare(&self) -> Result<(), PostgresOutboxError> {
        let Settings {
            schema, migrates, ..
        } = &self.settings;
        migrations::prepare(&self.transactions, schema, *migrates).await?;
        keys::check(
            &self.transactions,
            &self.settings.sealing,
            self.settings.lost_keys,
        )
        .await
    }

    async fn serve(self: &Rc<Self>, receivers: Receivers) {
        let Receivers {
            insert,
            fetch,
            settle,
            renew,
            errand,
        } = receivers;
        let (over, is_over) = watch::channel(false);
        let calls = async {
            let loops = join4(
                self.insert(insert),
                self.fetch(fetch),
                self.settle(settle),
                self.renew(renew),
            );
            join(loops, self.run_errands(errand)).await;
            over.send_replace(true);
            if let Err(error) = lease::leave(&self.transactions, self.leaser).await {
                tracing::warn!(%error, "the PostgreSQL outbox could not hand back its leases");
            }
        };
        join(calls, self.look_after(is_over)).await;
    }

    /// Runs upkeep until the loops have ended.
    async fn look_after(&self, mut is_over: watch::Receiver<bool>) {
        let mut upkeep = Upkeep::new(&self.settings);
        while !*is_over.borrow() {
            upkeep.note(self.has_ended.take(), self.has_died.take());
            let step = async {
                upkeep.run(&self.transactions).await;
                let rest = async {
                    self.upkeep.notified().await;
                    upkeep.rest().await;
                };
                let _ = tokio::time::timeout(upkeep.pause(), rest).await;
            };
            // Dropping an unfinished transaction closes its connection, and the server rolls back.
            tokio::select! {
                () = step => {}
                _ = is_over.changed() => {}
            }
        }
    }
}
