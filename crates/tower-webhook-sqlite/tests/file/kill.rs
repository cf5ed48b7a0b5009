//! `kill -9` of a server under load, again and again: whoever was answered in full gets the
//! webhook.
//!
//! The server is this test binary, run again as a child.

use std::{
    collections::HashSet,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use http_body_util::{BodyExt, Full};
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
    time::timeout,
};
use tower_webhook::WebhookLayer;
use tower_webhook_sqlite::SqliteOutbox;

use crate::scene::{dispatcher, key};

const FILE: &str = "TOWER_WEBHOOK_KILL_FILE";
const CALLERS: usize = 32;

/// The full number of kills is a setting, as it takes minutes.
fn kills() -> usize {
    let number = std::env::var("TOWER_WEBHOOK_KILLS");
    number.map_or(3, |number| number.parse().unwrap())
}

/// At least so many calls are answered in all.
fn calls() -> usize {
    kills() * 1_000
}

/// What the callers were answered, and what the receiver got.
#[derive(Default)]
struct Record {
    answered: Mutex<Vec<String>>,
    received: Mutex<HashSet<String>>,
    posts: AtomicUsize,
    next: AtomicUsize,
    done: AtomicBool,
    moved: Notify,
}

impl Record {
    fn answered(&self, id: String) {
        self.answered.lock().unwrap().push(id);
        self.moved.notify_waiters();
    }

    fn received(&self, id: String) {
        self.posts.fetch_add(1, Ordering::SeqCst);
        self.received.lock().unwrap().insert(id);
        self.moved.notify_waiters();
    }

    /// How many were answered and have not got their webhook.
    fn missing(&self) -> usize {
        let received = self.received.lock().unwrap();
        let answered = self.answered.lock().unwrap();
        answered.iter().filter(|id| !received.contains(*id)).count()
    }

    /// Looks again whenever somebody was answered or got a webhook; `false` when nothing has come
    /// of it in a minute.
    async fn until(&self, is_so: impl Fn(&Self) -> bool) -> bool {
        let waiting = async {
            loop {
                let moved = self.moved.notified();
                if is_so(self) {
                    return;
                }
                moved.await;
            }
        };
        timeout(Duration::from_secs(60), waiting).await.is_ok()
    }
}

/// Not a test by itself: the server of the test below.
#[test]
fn child() {
    let Ok(file) = std::env::var(FILE) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let outbox = SqliteOutbox::builder(file)
            .with_key(key(1))
            .with_lease(Duration::from_secs(3))
            .open()
            .unwrap();
        let dispatcher = dispatcher().with_outbox(outbox).build();
        dispatcher.start();
        let app = Router::new()
            .route("/run", post(|body: Bytes| async { body }))
            .layer(WebhookLayer::new().with_dispatcher(dispatcher));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("\nlistening {}", listener.local_addr().unwrap());
        axum::serve(listener, app).await.unwrap();
    });
}

fn start(file: &Path) -> (Child, SocketAddr) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child", "--nocapture"])
        .env(FILE, file)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = lines
        .find_map(|line| Some(line.unwrap().strip_prefix("listening ")?.parse().unwrap()))
        .expect("the child says where it listens");
    // Its pipe stays open for as long as it lives.
    std::thread::spawn(move || lines.for_each(drop));
    (child, address)
}

/// Calls until it is told to end, on one connection for as long as that holds.
async fn caller(
    record: Arc<Record>,
    mut server: watch::Receiver<SocketAddr>,
    receiver: SocketAddr,
) {
    while !record.done.load(Ordering::SeqCst) {
        let address = *server.borrow_and_update();
        let Ok(stream) = TcpStream::connect(address).await else {
            server.changed().await.unwrap();
            continue;
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        while !record.done.load(Ordering::SeqCst) {
            let number = record.next.fetch_add(1, Ordering::SeqCst);
            let id = format!("run-{number:06}");
            let request = Request::post(format!("/run?webhookEndpoint=http://{receiver}/"))
                .header("host", "localhost")
                .header("x-request-id", &id)
                .header("x-webhook-secret", "hush")
                .body(Full::new(Bytes::from(vec![b'x'; 1_024])))
                .unwrap();
            // From now on, so that no room that comes back is missed.
            let moved = record.moved.notified();
            let Ok(response) = sender.send_request(request).await else {
                break;
            };
            let taken = response.status() == 200;
            match response.into_body().collect().await {
                Ok(body) if taken => {
                    assert_eq!(body.to_bytes().len(), 1_024);
                    record.answered(id);
                }
                Ok(_busy) => moved.await,
                Err(_) => break,
            }
        }
        connection.abort();
    }
}

async fn receive(State(record): State<Arc<Record>>, headers: HeaderMap) {
    assert!(headers.contains_key("webhook-signature"));
    let id = headers["x-request-id"].to_str().unwrap().to_owned();
    record.received(id);
}

/// A server on the file, and where it listens.
struct Server {
    child: Child,
    address: watch::Sender<SocketAddr>,
}

impl Server {
    fn start(file: &Path) -> Self {
        let (child, address) = start(file);
        let (address, _) = watch::channel(address);
        Self { child, address }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn restart(&mut self, file: &Path) {
        let (child, address) = start(file);
        self.child = child;
        self.address.send_replace(address);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_answered_is_lost() {
    kill_again_and_again(1).await;
}

/// Each has the lock when the other one wants it: neither falls back to memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_two_processes_on_one_file_answered_is_lost() {
    kill_again_and_again(2).await;
}

async fn kill_again_and_again(servers: usize) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("webhooks.db");
    let record = Arc::new(Record::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let receiver = listener.local_addr().unwrap();
    let app = Router::new()
        .fallback(post(receive))
        .with_state(Arc::clone(&record));
    tokio::spawn(async { axum::serve(listener, app).await });

    let began = Instant::now();
    let mut servers: Vec<_> = (0..servers).map(|_| Server::start(&file)).collect();
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller_number| {
            let server = servers[caller_number % servers.len()].address.subscribe();
            tokio::spawn(caller(Arc::clone(&record), server, receiver))
        })
        .collect();
    let answered = || record.answered.lock().unwrap().len();
    for kill in 0..kills() {
        // Anywhere in a stretch in which the file is full of work.
        let so_many = answered() + calls() / kills() + fastrand::usize(0..500);
        let went_on = record.until(|record| record.answered.lock().unwrap().len() >= so_many);
        assert!(went_on.await, "the server answers nobody");
        let number = kill % servers.len();
        servers[number].kill();
        servers[number].restart(&file);
    }
    record.done.store(true, Ordering::SeqCst);
    record.moved.notify_waiters();
    for caller in callers {
        caller.await.unwrap();
    }

    record.until(|record| record.missing() == 0).await;
    servers.iter_mut().for_each(Server::kill);
    let posts = record.posts.load(Ordering::SeqCst);
    let distinct = record.received.lock().unwrap().len();
    println!(
        "{} kills, {} answered, {} lost, {} delivered more than once, {:.0?}",
        kills(),
        answered(),
        record.missing(),
        posts - distinct,
        began.elapsed(),
    );
    assert!(answered() >= calls());
    assert_eq!(record.missing(), 0);
}
