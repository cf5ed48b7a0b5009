//! Ten thousand deliveries outstanding, most of them to receivers that never answer: memory stays
//! under the bound that follows from the settings. Alone in its binary, as it looks at the whole
//! process.
#![cfg(target_os = "linux")]

use std::{
    convert::Infallible,
    future::Future,
    net::Ipv4Addr,
    sync::{Arc, LazyLock},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    time::timeout,
};
use tower::{Layer, ServiceExt, service_fn};
use tower_webhook::{
    Dispatcher, EndpointPolicy, EventKind, WebhookLayer,
    attempt::{Resolve, ResolveFuture},
    dispatch::DispatcherBuilder,
    outbox::MemoryOutbox,
};

const DELIVERIES: usize = 10_000;
/// More hosts than attempts.
const HOSTS: usize = 250;
const ATTEMPTS: usize = 200;
const DEAD: usize = 1_000;
const BODY: usize = 1 << 10;
/// What is kept of a response's headers at most.
const KEPT: usize = 8 << 10;
/// What the service puts into one of them: 4 MiB.
static MESSAGE: LazyLock<HeaderValue> =
    LazyLock::new(|| HeaderValue::from_bytes(&[b'm'; 4 << 20]).unwrap());

/// What `DispatcherBuilder::with_memory_budget` promises for these settings, in bytes: payloads and
/// headers, what a webhook takes besides, attempts, and dead letters.
const WEBHOOK: usize = 5 << 10;
const BUDGET: usize = DELIVERIES * (BODY + KEPT);
const DEAD_BYTES: usize = DEAD * (BODY + KEPT);
const BOUND: usize =
    BUDGET + DELIVERIES * WEBHOOK + ATTEMPTS * (128 << 10) + DEAD_BYTES + DEAD * WEBHOOK;

/// The longest that are permitted.
const URL: usize = 2_048;
const SECRET: usize = 1_024;

/// A receiver that takes whole requests, says so, and answers when it may.
struct Receiver {
    port: u16,
    come: mpsc::UnboundedReceiver<()>,
    may_answer: Arc<Semaphore>,
}

struct Loopback;

impl Resolve for Loopback {
    fn resolve(&self, _: &str) -> ResolveFuture {
        Box::pin(async { Ok(vec![Ipv4Addr::LOCALHOST.into()]) })
    }
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (came, come) = mpsc::unbounded_channel();
        let may_answer = Arc::new(Semaphore::new(0));
        let may = Arc::clone(&may_answer);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, came.clone(), Arc::clone(&may)));
            }
        });
        Self {
            port,
            come,
            may_answer,
        }
    }

    async fn has_come(&mut self, number: usize) {
        for _ in 0..number {
            soon(self.come.recv()).await.unwrap();
        }
    }

    /// Endpoints of as many hosts, again and again.
    fn endpoint(&self, number: usize) -> String {
        let url = format!("http://host-{}.example:{}/", number % HOSTS, self.port);
        let rest = URL - url.len();
        format!("{url}{number:0>rest$}")
    }
}

async fn serve(mut socket: TcpStream, came: mpsc::UnboundedSender<()>, may: Arc<Semaphore>) {
    let mut buffer = [0; 512];
    while let Ok(read @ 1..) = socket.read(&mut buffer).await {
        // The last byte of a request, and in none of its others.
        if buffer[read - 1] == b'!' {
            came.send(()).unwrap();
            let _permit = may.acquire().await.unwrap();
            let answer = b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n";
            socket.write_all(answer).await.unwrap();
        }
    }
}

fn settings() -> DispatcherBuilder {
    let policy = EndpointPolicy::public()
        .with_insecure_http()
        .with_insecure_private_networks();
    let day = Duration::from_secs(24 * 3_600);
    Dispatcher::builder()
        .with_outbox(
            MemoryOutbox::new()
                .with_max_dead_letters(DEAD)
                .with_max_dead_letter_bytes(DEAD_BYTES),
        )
        .with_endpoint_policy(policy)
        .with_resolver(Loopback)
        .with_max_outstanding(DELIVERIES)
        .with_max_outstanding_per_host(DELIVERIES)
        .with_max_attempts(ATTEMPTS)
        .with_max_attempts_per_host(ATTEMPTS)
        .with_body_limit(BODY)
        .with_memory_budget(BUDGET)
        // Nothing comes to its end while this looks.
        .with_attempt_timeout(day)
}

async fn call(dispatcher: &Dispatcher, endpoint: &str) {
    let body = vec![b'x'; BODY - 1];
    let body = Bytes::from([&body, &b"!"[..]].concat());
    let answer = service_fn(move |_: Request<()>| {
        let mut response = Response::new(Full::new(body.clone()));
        response
            .headers_mut()
            .insert("grpc-message", MESSAGE.clone());
        async { Ok::<_, Infallible>(response) }
    });
    let layer = WebhookLayer::new().with_dispatcher(dispatcher.clone());
    let request = Request::get(format!("/?webhookEndpoint={endpoint}"))
        .header("x-webhook-secret", "s".repeat(SECRET))
        .body(())
        .unwrap();
    let response = layer.layer(answer).oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    response.into_body().collect().await.unwrap();
}

#[tokio::test]
async fn memory_stays_under_the_computed_bound() {
    let (mut answering, mut stalled) = (Receiver::start().await, Receiver::start().await);
    let (died, mut dead) = mpsc::unbounded_channel();
    let dispatcher = settings()
        .on_event(move |event| {
            if let EventKind::Dead { .. } = event.kind() {
                died.send(()).unwrap();
            }
        })
        .build();
    let before = resident();

    // Hosts that have not answered yet share half of the attempts, of which a quarter is kept for
    // those that come later.
    for number in 0..DEAD {
        call(&dispatcher, &answering.endpoint(number)).await;
    }
    answering.has_come(ATTEMPTS / 2 * 3 / 4).await;
    answering.may_answer.add_permits(ATTEMPTS);
    for _ in 0..DEAD {
        soon(dead.recv()).await.unwrap();
    }

    for number in 0..DELIVERIES {
        call(&dispatcher, &stalled.endpoint(number)).await;
    }
    stalled.has_come(ATTEMPTS).await;
    assert_eq!(dispatcher.outstanding(), DELIVERIES);
    let grown = resident().saturating_sub(before);
    println!("grown by {grown} bytes, bound {BOUND} bytes");
    assert!(grown <= BOUND, "{grown} over {BOUND}");

    let report = dispatcher.shutdown(Duration::ZERO).await;
    assert_eq!(report.abandoned.len(), DELIVERIES);
}

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib: usize = line
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    kib * 1024
}

/// What it comes to, if it does within a time that is longer than anything takes.
async fn soon<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(60), future).await.unwrap()
}
