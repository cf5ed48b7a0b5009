//! What cannot be seen through the public API: claims, groups, and the clock.

mod claims;
mod groups;
mod hosts;
mod memory;
mod owners;
mod time;

use std::{
    sync::mpsc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::StatusCode;
use rusqlite::Connection;
use tempfile::TempDir;
use tower::ServiceExt;

use super::{
    SealingKey, SqliteClaim, SqliteLedger, SqliteOutbox, SqliteOutboxBuilder, SqliteSink,
    SqliteSource, command::Command, text::endpoint_from_text,
};
use crate::{
    BoxError, Delivery, DeliveryParts, Host, Outcome, Payload, RequestId, Secret,
    outbox::{Accepted, AttemptRecord, Claim, Demand, Outbox, Source, Verdict},
};

/// An outbox in a folder of its own, in its three ends.
struct Open {
    sink: SqliteSink,
    source: SqliteSource,
    _ledger: SqliteLedger,
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn builder(folder: &TempDir) -> SqliteOutboxBuilder {
    let key = SealingKey::from_bytes([1; 32]);
    SqliteOutbox::builder(folder.path().join("file")).with_key(key)
}

fn open(builder: SqliteOutboxBuilder) -> Open {
    let (sink, source, ledger) = builder.open().unwrap().split();
    Open {
        sink,
        source,
        _ledger: ledger,
    }
}

fn sql(folder: &TempDir) -> Connection {
    let conn = Connection::open(folder.path().join("file")).unwrap();
    conn.busy_timeout(Duration::from_secs(5)).unwrap();
    conn
}

fn count(folder: &TempDir, condition: &str) -> i64 {
    let sql_text = format!("SELECT count(*) FROM delivery WHERE {condition}");
    sql(folder)
        .query_row(&sql_text, [], |row| row.get(0))
        .unwrap()
}

fn delivery(id: &str, host: &str, payload: impl Into<Payload>) -> Delivery {
    let mut parts = DeliveryParts::new(
        RequestId::parse(id).unwrap(),
        endpoint_from_text(&format!("https://{host}/")).unwrap(),
        StatusCode::OK,
        payload.into(),
    );
    parts.secret = Some(Secret::new("hush"));
    parts.into()
}

/// Holds the outbox's thread up within a group, until it is dropped.
struct Gate {
    reached: mpsc::Receiver<()>,
    _open: mpsc::Sender<()>,
}

impl Gate {
    fn shut(outbox: &Open) -> Self {
        let (reach, reached) = mpsc::channel();
        let (open, opened) = mpsc::channel::<()>();
        let wait = move || {
            reach.send(()).unwrap();
            let _dropped = opened.recv();
        };
        let handle = outbox.sink.handle();
        handle.send(Command::Do(Box::new(wait))).unwrap();
        Self {
            reached,
            _open: open,
        }
    }

    fn is_reached(&self) {
        let patience = Duration::from_secs(20);
        self.reached.recv_timeout(patience).unwrap();
    }
}

impl Open {
    async fn accept(&self, id: &str) -> Result<Accepted, BoxError> {
        self.put(delivery(id, "a.example", "payload")).await
    }

    async fn put(&self, delivery: Delivery) -> Result<Accepted, BoxError> {
        self.sink.clone().oneshot(delivery).await
    }

    /// At most so many, from hosts of which each has room for everything.
    async fn next(&mut self, at_most: usize) -> Vec<SqliteClaim> {
        let demand = |_: &Host| at_most;
        self.source
            .next(Demand::new(at_most, &demand))
            .await
            .unwrap()
    }

    /// Whether there is nothing to claim for this time.
    async fn is_quiet(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.next(9)).await.is_err()
    }
}

async fn settle(claim: SqliteClaim, verdict: Verdict) -> Result<(), BoxError> {
    let outcome = Outcome::Answered {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        retry_after: None,
    };
    let now = SystemTime::now();
    let record = AttemptRecord::new(claim.attempt(), now, Duration::ZERO, outcome);
    claim.settle(verdict, record).await
}

fn ids(claims: &[SqliteClaim]) -> Vec<&str> {
    let ids = claims.iter().map(|claim| claim.delivery().id().as_str());
    ids.collect()
}

fn many_segments() -> Payload {
    let segments = (0..100).map(|n| Bytes::from(vec![n; 1_000 + usize::from(n)]));
    segments.collect::<Vec<_>>().into()
}

/// Waits for what happens on the outbox's thread.
async fn until(mut is_so: impl FnMut() -> bool) {
    for _ in 0..2_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not come so within 20 seconds");
}
