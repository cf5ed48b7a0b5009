//! Accepted webhooks a second with the SQLite outbox, each on the disk before the end of its
//! response, against a bare group-commit loop over the same kind of file in the same run.
//!
//! 64 concurrent callers, bodies of 1 KiB; the median of the rounds.
//!
//! ```sh
//! cargo bench --features sqlite --bench outbox
//! ```
//!
//! `TOWER_WEBHOOK_BENCH_DIR` chooses the disk, `TOWER_WEBHOOK_BENCH_MS` the time of one round. A
//! slower disk can be had from the kernel, here one whose sync takes 1 ms longer:
//!
//! ```sh
//! strace -f --seccomp-bpf -o /dev/null -e trace=fsync,fdatasync \
//!     -e inject=fsync,fdatasync:delay_exit=1000 target/release/deps/outbox-*
//! ```

use std::{
    convert::Infallible,
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use axum::{Router, body::Body, routing::post};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use rusqlite::{Connection, params};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tower::{ServiceExt, service_fn};
use tower_webhook::{
    Delivery, DeliveryParts, Dispatcher, EndpointPolicy, Payload, RequestId, Secret, WebhookLayer,
    outbox::{
        Outbox,
        sqlite::{SealingKey, SqliteOutbox},
    },
};

const CALLERS: usize = 64;
const ROUNDS: usize = 5;
const BODY: Bytes = Bytes::from_static(&[b'x'; 1_024]);

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut rates: [Vec<f64>; 4] = Default::default();
    for _ in 0..ROUNDS {
        rates[0].push(runtime.block_on(bare()));
        rates[1].push(runtime.block_on(sink()));
        rates[2].push(runtime.block_on(layer(Receiver::Stalls)));
        rates[3].push(runtime.block_on(layer(Receiver::Answers)));
    }
    let [bare, sink, stalled, delivering] = rates.map(median);
    println!("figure fsync_us {:.0}", fsync().as_secs_f64() * 1e6);
    println!("figure bare_group_commit_per_s {bare:.0}");
    println!("figure sink_accepted_per_s {sink:.0}");
    println!("figure layer_accepted_per_s {stalled:.0}");
    println!("figure layer_accepted_while_delivering_per_s {delivering:.0}");
    println!("figure bare_to_layer_ratio {:.2}", bare / stalled);
    println!(
        "figure bare_to_layer_while_delivering_ratio {:.2}",
        bare / delivering
    );
}

enum Receiver {
    /// Nothing is delivered: what is measured is accepting alone.
    Stalls,
    /// At once: what is accepted is claimed, delivered and removed meanwhile.
    Answers,
}

/// Items through a channel into two tables, as many in one commit as are there.
async fn bare() -> f64 {
    let folder = folder();
    let conn = Connection::open(folder.path().join("file")).unwrap();
    conn.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000;
         CREATE TABLE item (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, endpoint TEXT);
         CREATE TABLE payload (seq INTEGER PRIMARY KEY, body BLOB NOT NULL);",
    )
    .unwrap();
    let (items, received) = mpsc::channel::<(String, oneshot::Sender<()>)>();
    let writer = std::thread::spawn(move || {
        let mut item = conn
            .prepare("INSERT INTO item (id, endpoint) VALUES (?1, ?2)")
            .unwrap();
        let mut payload = conn
            .prepare("INSERT INTO payload (seq, body) VALUES (?1, ?2)")
            .unwrap();
        while let Ok(first) = received.recv() {
            let group: Vec<_> = std::iter::once(first).chain(received.try_iter()).collect();
            conn.execute_batch("BEGIN IMMEDIATE").unwrap();
            for (id, _) in &group {
                item.execute(params![id, "https://hooks.example.com/in"])
                    .unwrap();
                payload
                    .execute(params![conn.last_insert_rowid(), &BODY[..]])
                    .unwrap();
            }
            conn.execute_batch("COMMIT").unwrap();
            for (_, done) in group {
                let _ = done.send(());
            }
        }
    });
    let rate = measure(move |id| {
        let (done, is_done) = oneshot::channel();
        items.send((id, done)).unwrap();
        async { is_done.await.unwrap() }
    })
    .await;
    writer.join().unwrap();
    rate
}

/// The outbox without a layer and without a worker.
async fn sink() -> f64 {
    let folder = folder();
    let (sink, _source, _ledger) = outbox(&folder).split();
    let endpoint = EndpointPolicy::public()
        .check("https://hooks.example.com/in")
        .unwrap();
    measure(move |id| {
        let mut parts = DeliveryParts::new(
            RequestId::parse(&id).unwrap(),
            endpoint.clone(),
            http::StatusCode::OK,
            BODY.into(),
        );
        parts.secret = Some(Secret::new("a-value-of-your-choice"));
        let accepting = sink.clone().oneshot(Delivery::from(parts));
        async { assert!(!accepting.await.unwrap().duplicate) }
    })
    .await
}

/// Whole calls of a service with the layer, until the end of their responses.
async fn layer(receiver: Receiver) -> f64 {
    let folder = folder();
    let stalls = matches!(receiver, Receiver::Stalls);
    let client = service_fn(move |_: Request<Payload>| async move {
        if stalls {
            std::future::pending::<()>().await;
        }
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    let dispatcher = Dispatcher::builder()
        .with_outbox(outbox(&folder))
        .with_client(client)
        .build();
    let app: Router = Router::new()
        .route("/run", post(|| async { BODY }))
        .layer(WebhookLayer::new().with_dispatcher(dispatcher.clone()));
    let rate = measure(move |id| {
        let request = Request::post("/run?webhookEndpoint=https%3A%2F%2Fhooks.example.com%2Fin")
            .header("x-request-id", id)
            .header("x-webhook-secret", "a-value-of-your-choice")
            .body(Body::empty())
            .unwrap();
        let answering = app.clone().oneshot(request);
        async {
            let response = answering.await.unwrap();
            assert_eq!(response.status(), 200);
            assert_eq!(
                response.into_body().collect().await.unwrap().to_bytes(),
                BODY
            );
        }
    })
    .await;
    assert_eq!(dispatcher.counts().failed, 0);
    dispatcher.shutdown(Duration::ZERO).await;
    rate
}

/// How many calls a second end, with so many callers.
async fn measure<F, C>(call: F) -> f64
where
    F: Fn(String) -> C + Send + Sync + 'static,
    C: Future<Output = ()> + Send,
{
    let (call, is_over) = (Arc::new(call), Arc::new(AtomicBool::new(false)));
    let (ended, next) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let began = Instant::now();
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (call, is_over) = (Arc::clone(&call), Arc::clone(&is_over));
            let (ended, next) = (Arc::clone(&ended), Arc::clone(&next));
            tokio::spawn(async move {
                while !is_over.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    call(format!("0199-{number:010}")).await;
                    ended.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let ms = std::env::var("TOWER_WEBHOOK_BENCH_MS").map_or(1_000, |ms| ms.parse().unwrap());
    tokio::time::sleep(Duration::from_millis(ms)).await;
    let rate = ended.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
    is_over.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    rate
}

fn outbox(folder: &TempDir) -> SqliteOutbox {
    let key = SealingKey::from_bytes([7; 32]);
    SqliteOutbox::open(folder.path().join("file"), key).unwrap()
}

fn folder() -> TempDir {
    let default = Path::new(env!("CARGO_TARGET_TMPDIR")).to_owned();
    let chosen = std::env::var_os("TOWER_WEBHOOK_BENCH_DIR").map_or(default, PathBuf::from);
    tempfile::tempdir_in(chosen).unwrap()
}

fn fsync() -> Duration {
    let mut file = std::fs::File::create(folder().path().join("file")).unwrap();
    let mut times = Vec::new();
    for _ in 0..50 {
        file.write_all(&[0; 4_096]).unwrap();
        let began = Instant::now();
        file.sync_data().unwrap();
        times.push(began.elapsed().as_secs_f64());
    }
    Duration::from_secs_f64(median(times))
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
