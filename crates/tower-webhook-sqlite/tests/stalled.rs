//! Thousands of hosts that never answer, or refuse, with all that is due for them in the file: a host
//! that answers does not notice.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Router, http::HeaderMap, routing::post};
use bytes::Bytes;
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    sync::{Notify, mpsc},
};
use tower_webhook::{
    Dispatcher, EndpointPolicy, Payload,
    attempt::{Resolve, ResolveFuture},
    delivery::DeliveryParts,
    outbox::{DeliveryFilter, SealingKey},
};
use tower_webhook_sqlite::SqliteOutbox;

const HOSTS: usize = 5_000;

/// The full number, 100, is a setting, as it takes minutes to fill the file.
fn rows_of_each_host() -> usize {
    let number = std::env::var("TOWER_WEBHOOK_ROWS_OF_A_HOST");
    number.map_or(2, |number| number.parse().unwrap())
}

/// Every name is this machine's.
struct Loopback;

impl Resolve for Loopback {
    fn resolve(&self, _: &str) -> ResolveFuture {
        Box::pin(async { Ok(vec![Ipv4Addr::LOCALHOST.into()]) })
    }
}

fn policy() -> EndpointPolicy {
    EndpointPolicy::public()
        .with_insecure_http()
        .with_insecure_private_networks()
}

struct Scene {
    folder: TempDir,
    healthy: SocketAddr,
    received: mpsc::UnboundedReceiver<String>,
}

impl Scene {
    async fn new() -> Self {
        let (tell, received) = mpsc::unbounded_channel();
        let take = move |headers: HeaderMap, _: Bytes| async move {
            let id = headers["webhook-id"].to_str().unwrap().to_owned();
            tell.send(id).unwrap();
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let healthy = listener.local_addr().unwrap();
        let app = Router::new().route("/", post(take));
        tokio::spawn(async { axum::serve(listener, app).await });
        Self {
            folder: tempfile::tempdir().unwrap(),
            healthy,
            received,
        }
    }

    fn dispatcher(&self, attempt_timeout: Duration) -> Dispatcher {
        let outbox = SqliteOutbox::open(
            self.folder.path().join("webhooks.db"),
            SealingKey::from_bytes([7; 32]),
        );
        Dispatcher::builder()
            .with_outbox(outbox.unwrap())
            .with_endpoint_policy(policy())
            .with_resolver(Loopback)
            .with_attempt_timeout(attempt_timeout)
            .with_max_outstanding(100_000)
            .with_max_outstanding_per_host(100_000)
            .build()
    }

    /// The latencies of so many deliveries to the host that answers, one after the other, sorted.
    async fn deliver(&mut self, dispatcher: &Dispatcher, number: usize) -> Vec<Duration> {
        let mut latencies = Vec::new();
        for _ in 0..number {
            let began = Instant::now();
            let url = format!("http://healthy.example:{}/", self.healthy.port());
            let id = deliver(dispatcher, &url).await;
            assert_eq!(self.received.recv().await.unwrap(), id);
            latencies.push(began.elapsed());
        }
        latencies.sort_unstable();
        latencies
    }
}

async fn deliver(dispatcher: &Dispatcher, url: &str) -> String {
    let endpoint = policy().check(url).unwrap();
    let parts = DeliveryParts::new(endpoint, Payload::from("done"));
    dispatcher.deliver(parts).await.unwrap().to_string()
}

/// Something due for each of thousands of hosts at this port, accepted by calls.
async fn fill(dispatcher: &Dispatcher, port: u16, hosts: usize, rows: usize) {
    let callers = (0..64).map(|caller| async move {
        for number in (caller..hosts * rows).step_by(64) {
            let host = number % hosts;
            deliver(dispatcher, &format!("http://h{host}.example:{port}/")).await;
        }
    });
    futures_util::future::join_all(callers).await;
}

/// Accepts connections, and never says a word.
async fn stalled() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((socket, _)) = listener.accept().await {
            open.push(socket);
        }
    });
    port
}

fn print(what: &str, latencies: &[Duration]) {
    let quantile = |of: f64| latencies[((latencies.len() - 1) as f64 * of) as usize];
    let (p50, p99) = (quantile(0.5), quantile(0.99));
    println!(
        "{what}: p50 {p50:.1?}, p99 {p99:.1?}, slowest {:.1?}",
        quantile(1.0)
    );
}

/// Attempts take ten minutes here: whatever waited for one of these to end would never come.
const LONG: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_answers_does_not_notice_thousands_that_stall() {
    let mut scene = Scene::new().await;
    let dispatcher = scene.dispatcher(LONG);
    fill(&dispatcher, stalled().await, HOSTS, rows_of_each_host()).await;
    // It was never attempted before: the next permit of the reserve is its.
    tokio::time::timeout(Duration::from_secs(120), scene.deliver(&dispatcher, 1))
        .await
        .expect("a new host is tried");
    print(
        "beside those that called",
        &scene.deliver(&dispatcher, 300).await,
    );
    dispatcher.shutdown(Duration::ZERO).await;
    drop(dispatcher);

    // All of it is in the file, and due, for a process that knows nothing of any host.
    let dispatcher = scene.dispatcher(LONG);
    dispatcher.start();
    tokio::time::sleep(Duration::from_millis(500)).await;
    print(
        "beside those in the file",
        &scene.deliver(&dispatcher, 300).await,
    );
    dispatcher.shutdown(Duration::ZERO).await;
}

/// A host that refuses each connection costs no attempt a row, and holds nobody up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_refuses_with_thousands_due_is_tried_now_and_then() {
    let mut scene = Scene::new().await;
    let refusing = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let dispatcher = scene.dispatcher(LONG);
    let rows = 5_000 * rows_of_each_host();
    fill(&dispatcher, refusing, 1, rows).await;
    let latencies = scene.deliver(&dispatcher, 300).await;
    print("beside one that refuses", &latencies);
    let dead = dispatcher.counts().dead;
    assert!(dead < 1_000, "{dead} of {rows} were given up meanwhile");
    let all = DeliveryFilter::new();
    let waiting = dispatcher
        .deliveries(&all, tower_webhook::outbox::Page::first(1))
        .await;
    assert_eq!(waiting.unwrap().len(), 1);
    dispatcher.shutdown(Duration::ZERO).await;
}

/// Each call is answered after a second; all permits of the host are used all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_takes_a_second_gets_its_limit_at_a_time() {
    #[derive(Default)]
    struct Seen {
        now: usize,
        most: usize,
        done: usize,
    }
    let seen = Arc::new((Mutex::<Seen>::default(), Notify::new()));
    let slow = {
        let seen = Arc::clone(&seen);
        move |_: Bytes| async move {
            {
                let mut seen = seen.0.lock().unwrap();
                seen.now += 1;
                seen.most = seen.most.max(seen.now);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            let mut counts = seen.0.lock().unwrap();
            counts.now -= 1;
            counts.done += 1;
            drop(counts);
            seen.1.notify_one();
        }
    };
    let scene = Scene::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let app = Router::new().route("/", post(slow));
    tokio::spawn(async { axum::serve(listener, app).await });
    let dispatcher = scene.dispatcher(LONG);
    fill(&dispatcher, port, 1, 600).await;
    while seen.0.lock().unwrap().done < 600 {
        seen.1.notified().await;
    }
    assert_eq!(seen.0.lock().unwrap().most, 64);
    dispatcher.shutdown(Duration::from_secs(5)).await;
}
