//! Webhooks accepted and delivered a second, the whole way: an axum app as `axum::serve` serves it, 64
//! callers, one endpoint host, bodies of 1 KiB, and the receiver in a process of its own. With the
//! outbox in memory, in a SQLite file, and in one without a history, in turn within one run; and what
//! one caller waits for each response.
//!
//! No socket is set otherwise than it comes.
//!
//! ```sh
//! cargo bench -p tower-webhook-sqlite --bench outbox
//! ```
//!
//! `TOWER_WEBHOOK_BENCH_DIR` chooses the disk, `TOWER_WEBHOOK_BENCH_MS` the time of one round,
//! `TOWER_WEBHOOK_BENCH_ROUNDS` how many there are of each; the figures are their medians. A slower
//! disk can be had from the kernel, here one whose sync takes 0.3 ms longer:
//!
//! ```sh
//! strace -f --seccomp-bpf -o /dev/null -e trace=fsync,fdatasync \
//!     -e inject=fsync,fdatasync:delay_exit=300 target/release/deps/outbox-*
//! ```

use std::{
    env,
    fs::File,
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    routing::{get, post},
};
use bytes::Bytes;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tower_webhook::{Dispatcher, EndpointPolicy, WebhookLayer, outbox::SealingKey};
use tower_webhook_sqlite::SqliteOutbox;

const ROLE: &str = "TOWER_WEBHOOK_BENCH_ROLE";
const FILE: &str = "TOWER_WEBHOOK_BENCH_FILE";
/// Where deliveries are kept.
const OUTBOXES: [&str; 3] = ["memory", "sqlite", "sqlite_without_history"];
const CALLERS: usize = 64;
const ROUNDS: usize = 5;
const ONE_CALLERS_CALLS: usize = 300;

#[tokio::main]
async fn main() {
    match env::var(ROLE).as_deref() {
        Ok("receiver") => receiver().await,
        Ok(outbox) => app(outbox).await,
        Err(_) => measure().await,
    }
}

/// What one round has seen.
struct Round {
    accepted: f64,
    delivered: f64,
    /// What one caller waits for a response, in ms.
    waits: f64,
}

async fn measure() {
    println!("figure fsync_us {:.0}", fsync().as_secs_f64() * 1e6);
    let mut rounds: [Vec<Round>; OUTBOXES.len()] = Default::default();
    for _ in 0..number("TOWER_WEBHOOK_BENCH_ROUNDS", ROUNDS) {
        for (outbox, rounds) in OUTBOXES.iter().zip(&mut rounds) {
            rounds.push(round(outbox).await);
        }
    }
    let [memory, sqlite, without_history] = &rounds;
    for (name, rounds) in OUTBOXES.iter().zip(&rounds) {
        let accepted = median(rounds, |round| round.accepted);
        println!("figure {name}_accepted_per_s {accepted:.0}");
        let delivered = median(rounds, |round| round.delivered);
        println!("figure {name}_delivered_per_s {delivered:.0}");
        let waits = median(rounds, |round| round.waits);
        println!("figure {name}_one_caller_ms {waits:.2}");
    }
    let share = median(sqlite, |round| round.delivered / round.accepted);
    println!("figure sqlite_delivered_of_accepted {share:.2}");
    let sum = |rounds| median(rounds, |round| round.accepted + round.delivered);
    println!(
        "figure sqlite_to_memory_ratio {:.2}",
        sum(sqlite) / sum(memory)
    );
    println!(
        "figure sqlite_history_costs_percent {:.1}",
        history_costs(sqlite, without_history)
    );
    let waits = |rounds| median(rounds, |round| round.waits);
    println!(
        "figure sqlite_one_caller_more_ms {:.2}",
        waits(sqlite) - waits(memory)
    );
}

fn median(rounds: &[Round], of: fn(&Round) -> f64) -> f64 {
    median_of(rounds.iter().map(of))
}

/// The median over the rounds, each compared with the one beside it.
fn history_costs(with: &[Round], without: &[Round]) -> f64 {
    let pairs = with.iter().zip(without);
    let kept = median_of(pairs.map(|(with, without)| with.delivered / without.delivered));
    (1.0 - kept) * 100.0
}

fn median_of(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<_> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn number(name: &str, default: usize) -> usize {
    env::var(name).map_or(default, |number| number.parse().expect("a number"))
}

async fn round(outbox: &str) -> Round {
    let folder = folder();
    let file = folder.path().join("webhooks.db");
    let (_receiver, receiver) = Process::start("receiver", &file);
    let (_app, app) = Process::start(outbox, &file);
    let ms = number("TOWER_WEBHOOK_BENCH_MS", 3_000) as u64;
    // The first calls open connections, and grow the file.
    load(app, receiver, Duration::from_millis(ms / 4)).await;
    let (before, began) = (count(receiver).await, Instant::now());
    let accepted = load(app, receiver, Duration::from_millis(ms)).await;
    let (delivered, took) = (
        count(receiver).await - before,
        began.elapsed().as_secs_f64(),
    );
    tokio::time::sleep(Duration::from_millis(500)).await;
    Round {
        accepted: accepted as f64 / took,
        delivered: delivered as f64 / took,
        waits: one_caller(app, receiver).await,
    }
}

/// How many calls were answered with a 200.
async fn load(app: SocketAddr, receiver: SocketAddr, time: Duration) -> u64 {
    let until = Instant::now() + time;
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(async move {
            let mut caller = Caller::new(app, receiver).await;
            let mut accepted = 0;
            while Instant::now() < until {
                accepted += u64::from(caller.call().await);
            }
            accepted
        });
    }
    callers.join_all().await.into_iter().sum()
}

/// The median that one caller waits, in ms.
async fn one_caller(app: SocketAddr, receiver: SocketAddr) -> f64 {
    let mut caller = Caller::new(app, receiver).await;
    let mut waits = Vec::new();
    for _ in 0..ONE_CALLERS_CALLS {
        let began = Instant::now();
        caller.call().await;
        waits.push(began.elapsed().as_secs_f64() * 1e3);
    }
    waits.sort_by(f64::total_cmp);
    waits[waits.len() / 2]
}

/// One connection, on which one call follows the other.
struct Caller {
    socket: TcpStream,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

impl Caller {
    async fn new(app: SocketAddr, receiver: SocketAddr) -> Self {
        let head = format!(
            "POST /run?webhookEndpoint=http://{receiver}/hook HTTP/1.1\r\nhost: api\r\n\
             x-webhook-secret: a-value-of-your-choice\r\ncontent-length: 1024\r\n\r\n"
        );
        Self {
            socket: TcpStream::connect(app).await.expect("the app listens"),
            request: [head.as_bytes(), &[b'x'; 1_024]].concat(),
            buffer: vec![0; 16 << 10],
        }
    }

    /// Whether it is answered with a 200.
    async fn call(&mut self) -> bool {
        self.socket
            .write_all(&self.request)
            .await
            .expect("the app reads");
        let mut read = 0;
        loop {
            let more = self
                .socket
                .read(&mut self.buffer[read..])
                .await
                .expect("an answer");
            assert!(more > 0, "the app has closed the connection");
            read += more;
            if let Some(whole) = whole(&self.buffer[..read]) {
                return whole;
            }
        }
    }
}

/// Once the response is whole, whether it is a 200.
fn whole(response: &[u8]) -> Option<bool> {
    let end = response.windows(4).position(|part| part == b"\r\n\r\n")? + 4;
    let head = str::from_utf8(&response[..end])
        .expect("a head is text")
        .to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.expect("a length").parse().expect("a number");
    (response.len() >= end + length).then(|| head.starts_with("http/1.1 200"))
}

async fn count(receiver: SocketAddr) -> u64 {
    let mut socket = TcpStream::connect(receiver)
        .await
        .expect("the receiver listens");
    let request = b"GET /count HTTP/1.1\r\nhost: receiver\r\nconnection: close\r\n\r\n";
    socket.write_all(request).await.expect("it reads");
    let mut response = String::new();
    socket
        .read_to_string(&mut response)
        .await
        .expect("it answers");
    let number = response.rsplit("\r\n").next().expect("a body");
    number.parse().expect("a number")
}

/// A process of this binary, which ends with this.
struct Process(Child);

impl Process {
    fn start(role: &str, file: &Path) -> (Self, SocketAddr) {
        let mut child = Command::new(env::current_exe().expect("this is a program"))
            .env(ROLE, role)
            .env(FILE, file)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let stdout = child.stdout.take().expect("it is piped");
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line);
        read.expect("it says where it listens");
        (Self(child), line.trim().parse().expect("an address"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn serve(app: Router) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("{}", listener.local_addr().expect("it is bound"));
    axum::serve(listener, app).await.expect("it serves");
}

async fn app(outbox: &str) {
    let policy = EndpointPolicy::public()
        .with_insecure_http()
        .with_insecure_private_networks();
    let mut builder = Dispatcher::builder().with_endpoint_policy(policy);
    if outbox != "memory" {
        let file = env::var_os(FILE).expect("a file");
        let mut file = SqliteOutbox::builder(file).with_key(SealingKey::from_bytes([7; 32]));
        if outbox == "sqlite_without_history" {
            file = file.with_max_history(0);
        }
        builder = builder.with_outbox(file.open().expect("the file opens"));
    }
    let layer = WebhookLayer::new().with_dispatcher(builder.build());
    serve(
        Router::new()
            .route("/run", post(|body: Bytes| async { body }))
            .layer(layer),
    )
    .await;
}

async fn receiver() {
    let number = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&number);
    let hook = move |_: Bytes| async move {
        counted.fetch_add(1, Ordering::Relaxed);
    };
    let count = move || async move { number.load(Ordering::Relaxed).to_string() };
    serve(
        Router::new()
            .route("/hook", post(hook))
            .route("/count", get(count)),
    )
    .await;
}

fn folder() -> TempDir {
    match env::var_os("TOWER_WEBHOOK_BENCH_DIR") {
        Some(dir) => TempDir::new_in(dir),
        None => tempfile::tempdir(),
    }
    .expect("a folder")
}

/// The median time of a sync of this disk.
fn fsync() -> Duration {
    let folder = folder();
    let mut file = File::create(folder.path().join("file")).expect("a file");
    let mut times: Vec<_> = (0..200)
        .map(|_| {
            file.write_all(&[b'x'; 4_096]).expect("it is written");
            let began = Instant::now();
            file.sync_data().expect("it is synced");
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}
