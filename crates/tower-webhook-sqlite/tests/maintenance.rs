//! What is done to very many deliveries at once is done in turn with accepting.

use std::time::{Duration, Instant};

use rusqlite::Connection;
use tower_webhook::{
    Dispatcher, EndpointPolicy, Payload,
    delivery::DeliveryParts,
    outbox::{DeliveryFilter, DeliveryState, SealingKey},
};
use tower_webhook_sqlite::{SqliteOutbox, SqliteOutboxBuilder};

/// The full number, 500,000, is a setting, as it takes minutes.
fn rows() -> usize {
    let number = std::env::var("TOWER_WEBHOOK_ROWS");
    number.map_or(5_000, |number| number.parse().unwrap())
}

fn policy() -> EndpointPolicy {
    EndpointPolicy::public()
        .with_insecure_http()
        .with_insecure_private_networks()
}

struct Scene {
    folder: tempfile::TempDir,
}

impl Scene {
    /// A file with so many dead letters that died at this time.
    fn new(died_at: &str) -> Self {
        let scene = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        drop(scene.builder().open().unwrap());
        let rows = rows();
        // Not of a host that is called meanwhile, and due far in the future once they are redelivered.
        let sql = format!(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {rows})
             INSERT INTO delivery (id, request_id, state, host, status, envelope, payload_len,
                                   accepted_at, due_at, died_at)
                 SELECT printf('019a0000-0000-7000-8000-%012x', n), 'a', 'dead', 'dead.example', 200,
                        randomblob(300), 1024, 0, 0, {died_at} FROM n;
             INSERT INTO payload SELECT seq, randomblob(1024) FROM delivery;
             PRAGMA wal_checkpoint(TRUNCATE);"
        );
        scene.sql().execute_batch(&sql).unwrap();
        scene
    }

    fn builder(&self) -> SqliteOutboxBuilder {
        SqliteOutbox::builder(self.folder.path().join("webhooks.db"))
            .with_key(SealingKey::from_bytes([7; 32]))
    }

    fn sql(&self) -> Connection {
        let conn = Connection::open(self.folder.path().join("webhooks.db")).unwrap();
        conn.busy_timeout(Duration::from_secs(5)).unwrap();
        conn
    }

    fn dispatcher(&self) -> Dispatcher {
        Dispatcher::builder()
            .with_outbox(self.builder().open().unwrap())
            .with_endpoint_policy(policy())
            .with_max_outstanding(100_000)
            .with_max_outstanding_per_host(100_000)
            .build()
    }

    fn count(&self, condition: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM delivery WHERE {condition}");
        self.sql().query_row(&sql, [], |row| row.get(0)).unwrap()
    }
}

async fn deliver(dispatcher: &Dispatcher) -> Duration {
    let began = Instant::now();
    let endpoint = policy().check("http://127.0.0.1:1/").unwrap();
    let parts = DeliveryParts::new(endpoint, Payload::from("done"));
    dispatcher.deliver(parts).await.unwrap();
    began.elapsed()
}

/// How long inserts take, one after the other, until something has come so.
async fn insert_until(dispatcher: &Dispatcher, mut is_over: impl AsyncFnMut() -> bool) {
    let mut took = Vec::new();
    while !is_over().await || took.is_empty() {
        took.push(deliver(dispatcher).await);
    }
    took.sort_unstable();
    let quantile = |of: f64| took[((took.len() - 1) as f64 * of) as usize];
    println!(
        "{} inserts meanwhile: p50 {:.1?}, p99 {:.1?}, slowest {:.1?}",
        took.len(),
        quantile(0.5),
        quantile(0.99),
        quantile(1.0),
    );
    assert_eq!(dispatcher.counts().outbox_failed, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_accepted_while_very_many_are_redelivered() {
    let scene = Scene::new("unixepoch() * 1000");
    let dispatcher = scene.dispatcher();
    let began = Instant::now();
    let redelivering = tokio::spawn({
        let dispatcher = dispatcher.clone();
        let dead = DeliveryFilter::new().with_state(DeliveryState::Dead);
        async move { dispatcher.redeliver_all(&dead).await.unwrap() }
    });
    insert_until(&dispatcher, async || redelivering.is_finished()).await;
    println!("redelivered in {:.1?}", began.elapsed());
    assert!(redelivering.await.unwrap() >= rows());
    dispatcher.shutdown(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_accepted_while_very_many_dead_letters_expire() {
    let scene = Scene::new("0");
    let dispatcher = scene.dispatcher();
    let began = Instant::now();
    dispatcher.start();
    let mut looks = 0;
    insert_until(&dispatcher, async || {
        looks += 1;
        looks % 64 == 0 && scene.count("host = 'dead.example'") == 0
    })
    .await;
    println!("expired in {:.1?}", began.elapsed());
    dispatcher.shutdown(Duration::ZERO).await;
}
