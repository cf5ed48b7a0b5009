//! `kill -9` of processes that accept and deliver: every caller that received its whole response gets its
//! webhook, from whichever process is left.
//!
//! The processes are this test binary, run as a child.

use std::{
    collections::HashSet,
    env,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Bytes, routing::post};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower_webhook::WebhookLayer;

use crate::support::{
    place::{self, Place},
    scene::{Receiver, dispatcher, until},
};

const URL: &str = "TOWER_WEBHOOK_KILL_URL";
const SCHEMA: &str = "TOWER_WEBHOOK_KILL_SCHEMA";

fn kills() -> usize {
    let number = env::var("TOWER_WEBHOOK_KILLS");
    number.map_or(3, |number| number.parse().unwrap())
}

/// The child process of the test below; passes when run alone.
#[test]
fn child() {
    let (Ok(url), Ok(schema)) = (env::var(URL), env::var(SCHEMA)) else {
        return;
    };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let place = Place { url, schema };
        let builder = place.builder().with_lease(Duration::from_secs(2));
        let outbox = builder.open().await.unwrap();
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

/// A child process, killed on drop.
struct Process(Child);

impl Process {
    fn start(place: &Place) -> (Self, SocketAddr) {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "kill_process::child", "--nocapture"])
            .env(URL, &place.url)
            .env(SCHEMA, &place.schema)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .find_map(|line| Some(line.unwrap().strip_prefix("listening ")?.parse().unwrap()))
            .expect("the child says where it listens");
        // Drains the pipe until the child ends.
        std::thread::spawn(move || lines.for_each(drop));
        (Self(child), address)
    }
}

impl Drop for Process {
    /// `kill -9`.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether the whole response arrived, with status 200.
async fn call(address: SocketAddr, receiver: SocketAddr, id: &str) -> std::io::Result<bool> {
    let mut socket = TcpStream::connect(address).await?;
    let head = format!(
        "POST /run?webhookEndpoint=http://{receiver}/ HTTP/1.1\r\nhost: api\r\nx-request-id: {id}\r\n\
         x-webhook-secret: hush\r\ncontent-length: 1024\r\nconnection: close\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await?;
    socket.write_all(&[b'x'; 1_024]).await?;
    let mut response = Vec::new();
    socket.read_to_end(&mut response).await?;
    Ok(response.starts_with(b"HTTP/1.1 200") && response.ends_with(&[b'x'; 1_024]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_answered_is_lost() {
    const CALLERS: usize = 16;
    const BETWEEN: usize = 300;
    let Some(place) = place::place() else { return };
    let receiver = Receiver::start(200).await;
    let (first, address) = Process::start(&place);
    let mut processes = vec![first, Process::start(&place).0];
    let address = Arc::new(Mutex::new(address));
    let answered = Arc::new(Mutex::new(Vec::new()));
    let (next, is_over) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (address, answered) = (Arc::clone(&address), Arc::clone(&answered));
            let (next, is_over) = (Arc::clone(&next), Arc::clone(&is_over));
            let receiver = receiver.address;
            tokio::spawn(async move {
                while !is_over.load(Ordering::SeqCst) {
                    let id = format!("run-{:06}", next.fetch_add(1, Ordering::SeqCst));
                    let to = *address.lock().unwrap();
                    match call(to, receiver, &id).await {
                        Ok(true) => answered.lock().unwrap().push(id),
                        Ok(false) => {}
                        Err(_) => tokio::task::yield_now().await,
                    }
                }
            })
        })
        .collect();
    let number = || answered.lock().unwrap().len();
    for _ in 0..kills() {
        let so_many = number() + BETWEEN;
        until(async || number() >= so_many).await;
        // Kills the process that is called. The other one keeps delivering.
        drop(processes.remove(0));
        let (process, started) = Process::start(&place);
        processes.push(process);
        *address.lock().unwrap() = started;
    }
    is_over.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
    let answered = answered.lock().unwrap().clone();
    receiver
        .until(|posts| {
            let received: HashSet<_> = posts.iter().map(|post| &post.id).collect();
            answered.iter().all(|id| received.contains(id))
        })
        .await;
    println!("{} kills, {} answered, none lost", kills(), answered.len());
}
