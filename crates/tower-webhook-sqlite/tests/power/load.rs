//! An outbox on the disk, with a dispatcher that fills it and empties it.

use std::{convert::Infallible, future::Future, path::Path, time::Duration};

use bytes::Bytes;
use fastrand::Rng;
use http::{Request, Response};
use rusqlite::Connection;
use tower::service_fn;
use tower_webhook::{
    BoxError, Dispatcher, EndpointPolicy, Payload,
    delivery::DeliveryParts,
    outbox::{
        DueDeliveries, Lease, Limits, NewDelivery, Outbox, Sealing, SealingKey, SettleOutcome,
        Settlement, StoredDelivery, Verdict, Want,
    },
};
use tower_webhook_sqlite::SqliteOutbox;

use crate::{
    image::{DATABASE, KEY},
    lab::Bench,
    process::{self, Stage, Test},
};

/// What is done between opening an outbox and closing it.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) seed: u64,
    /// Payloads have less.
    pub(crate) payload: usize,
    /// One caller has another connection write the log back after so many calls.
    pub(crate) checkpoint_every: usize,
}

const CALLERS: usize = 8;

/// One run of a process: its stages are that it opens the outbox or creates it, uses it, and closes it. Says
/// how often the log was written back while it was in use.
pub(crate) fn run(bench: &Bench, load: Load, stages: [Stage; 3]) -> usize {
    let Load {
        seed,
        payload,
        checkpoint_every,
    } = load;
    let program = format!("outbox {seed} {payload} {checkpoint_every}");
    let mut syncs = [0; 3];
    let note = |stage: usize| syncs[stage] = bench.mount.syncs(DATABASE);
    process::run(bench, &program, &stages, note);
    syncs[2] - syncs[1]
}

/// What the process does.
pub(crate) fn program(test: &Test, load: Load) {
    let (file, key) = (test.path(DATABASE), test.path(KEY));
    for path in [&file, &key] {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    }
    let key = SealingKey::from_file_or_new(key).unwrap();
    let outbox = Recorded {
        inner: SqliteOutbox::open(&file, key).unwrap(),
        test: test.clone(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let dispatcher = runtime.block_on(async {
        let dispatcher = Dispatcher::builder()
            .with_outbox(outbox)
            .with_client(service_fn(receive))
            .build();
        dispatcher.start();
        test.next_stage();
        let callers = (0..CALLERS).map(|caller| call(test, load, caller, &dispatcher));
        futures_util::future::join_all(callers).await;
        test.next_stage();
        dispatcher.shutdown(Duration::ZERO).await;
        dispatcher
    });
    drop(runtime);
    drop(dispatcher);
}

/// Calls until all images were taken.
async fn call(test: &Test, load: Load, caller: usize, dispatcher: &Dispatcher) {
    let mut rng = Rng::with_seed(load.seed.wrapping_add(caller as u64));
    for n in 1.. {
        if test.is_done() {
            return;
        }
        let mut payload = vec![0; rng.usize(1..load.payload)];
        rng.fill(&mut payload);
        let endpoint = EndpointPolicy::public().check("https://example.com/hook");
        let payload = Payload::from(Bytes::from(payload));
        let parts = DeliveryParts::new(endpoint.unwrap(), payload);
        dispatcher.deliver(parts).await.unwrap();
        assert_eq!(dispatcher.counts().outbox_failed, 0);
        if caller == 0 && n % load.checkpoint_every == 0 {
            let file = test.path(DATABASE);
            let mode = ["PASSIVE", "TRUNCATE"][n / load.checkpoint_every % 2];
            tokio::task::spawn_blocking(move || checkpoint(&file, mode))
                .await
                .unwrap();
        }
    }
}

/// As an operator, or another process, may do at any time. It may find the file locked.
fn checkpoint(file: &Path, mode: &str) {
    let conn = Connection::open(file).unwrap();
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    conn.query_row(&sql, [], |_| Ok(())).unwrap();
}

/// Takes two of three deliveries, by their contents, and never the others.
async fn receive(request: Request<Payload>) -> Result<Response<String>, Infallible> {
    let is_refused = request.body().to_bytes()[0].is_multiple_of(3);
    let status = if is_refused { 503 } else { 200 };
    let response = Response::builder().status(status).body(String::new());
    Ok(response.expect("the status is valid"))
}

/// Notes what the outbox has acknowledged.
struct Recorded {
    inner: SqliteOutbox,
    test: Test,
}

impl Outbox for Recorded {
    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn sealing(&self) -> Sealing {
        self.inner.sealing()
    }

    async fn insert(&self, batch: Vec<NewDelivery>) -> Result<Vec<Option<Lease>>, BoxError> {
        let entries: Vec<_> = batch
            .iter()
            .map(|new| (new.stored.id, new.stored.payload.to_bytes()))
            .collect();
        let leases = self.inner.insert(batch).await?;
        for (id, payload) in entries {
            self.test.acknowledged(&id, &payload);
        }
        Ok(leases)
    }

    fn fetch(&self, want: Want) -> impl Future<Output = Result<DueDeliveries, BoxError>> + Send {
        self.inner.fetch(want)
    }

    async fn settle(&self, batch: Vec<Settlement>) -> Result<Vec<SettleOutcome>, BoxError> {
        let ended = batch
            .iter()
            .filter(|one| matches!(one.verdict, Verdict::Delivered));
        for settlement in ended {
            self.test.ends(&settlement.lease.delivery);
        }
        self.inner.settle(batch).await
    }

    fn renew(
        &self,
        leases: Vec<Lease>,
    ) -> impl Future<Output = Result<Vec<Lease>, BoxError>> + Send {
        self.inner.renew(leases)
    }

    fn close(&self) -> impl Future<Output = Result<Vec<StoredDelivery>, BoxError>> + Send {
        self.inner.close()
    }
}
