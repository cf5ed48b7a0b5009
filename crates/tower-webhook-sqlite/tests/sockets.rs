//! Responses over sockets as a user has them: `axum::serve` as it comes, without `TCP_NODELAY`, and
//! a client that acknowledges when the kernel does.
//!
//! A server that has sent the head of a response cannot send a small rest until the head is
//! acknowledged, which takes 40 ms on such a socket.

use std::{
    convert::Infallible,
    net::SocketAddr,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    routing::{get, post},
};
use bytes::Bytes;
use http::HeaderMap;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tower_webhook::{Dispatcher, EndpointPolicy, WebhookLayer, outbox::SealingKey};
use tower_webhook_sqlite::SqliteOutbox;

async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, app).await });
    address
}

/// An API with the layer and a SQLite outbox, and the receiver of its webhooks.
struct Scene {
    api: SocketAddr,
    receiver: SocketAddr,
    received: mpsc::UnboundedReceiver<Bytes>,
    /// Of the response that is a stream.
    stream: mpsc::UnboundedSender<&'static str>,
    _folder: TempDir,
}

impl Scene {
    async fn new() -> Self {
        let (tell, received) = mpsc::unbounded_channel();
        let take = move |body: Bytes| async move { tell.send(body).unwrap() };
        let receiver = serve(Router::new().route("/", post(take))).await;
        let folder = tempfile::tempdir().unwrap();
        let key = SealingKey::from_bytes([7; 32]);
        let outbox = SqliteOutbox::open(folder.path().join("webhooks.db"), key).unwrap();
        let policy = EndpointPolicy::public()
            .with_insecure_http()
            .with_insecure_private_networks();
        let dispatcher = Dispatcher::builder()
            .with_outbox(outbox)
            .with_endpoint_policy(policy)
            .build();
        let (stream, frames) = mpsc::unbounded_channel::<&'static str>();
        let frames = std::sync::Mutex::new(Some(frames));
        let streaming = move || {
            let frames = frames.lock().unwrap().take().unwrap();
            let frames = UnboundedReceiverStream::new(frames);
            let frames = tokio_stream::StreamExt::map(frames, Ok::<_, Infallible>);
            std::future::ready(Body::from_stream(frames))
        };
        let streaming = std::sync::Arc::new(streaming);
        let app = Router::new()
            .route("/small", get(|| async { "done" }))
            .route("/large", get(|| async { "x".repeat(20_000) }))
            .route("/empty", get(|| async {}))
            .route("/stream", get(move || (*streaming)()))
            .layer(WebhookLayer::new().with_dispatcher(dispatcher));
        Self {
            api: serve(app).await,
            receiver,
            received,
            stream,
            _folder: folder,
        }
    }

    /// A request that asks for a webhook.
    fn request(&self, path: &str) -> String {
        let endpoint = format!("http://{}/", self.receiver);
        format!("GET {path}?webhookEndpoint={endpoint} HTTP/1.1\r\nhost: api\r\n\r\n")
    }
}

/// One call, and how it came: in how many reads, and how long it took.
async fn call(socket: &mut TcpStream, request: &str) -> (usize, Duration) {
    let began = Instant::now();
    socket.write_all(request.as_bytes()).await.unwrap();
    let (mut response, mut reads) = (Vec::new(), 0);
    while !is_whole(&response) {
        let mut buffer = vec![0; 64 << 10];
        let read = socket.read(&mut buffer).await.unwrap();
        assert!(read > 0, "the server has closed the connection");
        response.extend_from_slice(&buffer[..read]);
        reads += 1;
    }
    (reads, began.elapsed())
}

fn is_whole(response: &[u8]) -> bool {
    let text = String::from_utf8_lossy(response);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.to_lowercase();
    let length = length
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .expect("a length");
    body.len() >= length.parse().unwrap()
}

/// The kernel acknowledges the first segments of a connection at once; these are those that come
/// after.
const WARM_UP: usize = 40;
const CALLS: usize = 20;
const DELAYED: Duration = Duration::from_millis(40);

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_is_complete_in_its_first_frame_comes_in_one_piece() {
    let mut scene = Scene::new().await;
    for path in ["/small", "/large", "/empty"] {
        let request = scene.request(path);
        let mut socket = TcpStream::connect(scene.api).await.unwrap();
        let mut quickest = Duration::MAX;
        for number in 0..WARM_UP + CALLS {
            let (reads, took) = call(&mut socket, &request).await;
            if path != "/large" {
                assert_eq!(reads, 1, "the head of {path} went ahead");
            }
            if number >= WARM_UP {
                quickest = quickest.min(took);
            }
            scene.received.recv().await.unwrap();
        }
        assert!(
            quickest < DELAYED,
            "each call of {path} took {quickest:?} or more"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_head_of_a_stream_goes_ahead() {
    let mut scene = Scene::new().await;
    let mut socket = TcpStream::connect(scene.api).await.unwrap();
    let request = scene.request("/stream");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut read = String::new();
    for expected in ["\r\n\r\n", "one", "two"] {
        if !expected.starts_with('\r') {
            scene.stream.send(expected).unwrap();
        }
        while !read.contains(expected) {
            let mut buffer = [0; 1_024];
            let number = socket.read(&mut buffer).await.unwrap();
            assert!(number > 0);
            read.push_str(str::from_utf8(&buffer[..number]).unwrap());
        }
    }
    assert!(
        !read.contains("\r\n0\r\n"),
        "its end is held back, not its frames"
    );
    drop(scene.stream);
    assert_eq!(scene.received.recv().await.unwrap(), "onetwo");
}

/// What the sockets of this file do, where the head goes ahead: the guard of the tests above.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_goes_ahead_costs_40_ms_on_these_sockets() {
    let late = || async {
        let mut headers = HeaderMap::new();
        headers.insert("content-length", 4.into());
        let frames = futures_util::stream::once(async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok::<_, Infallible>("done")
        });
        (headers, Body::from_stream(frames))
    };
    let api = serve(Router::new().route("/", get(late))).await;
    let mut socket = TcpStream::connect(api).await.unwrap();
    let mut most_reads = 0;
    for _ in 0..WARM_UP + CALLS {
        let request = "GET / HTTP/1.1\r\nhost: api\r\n\r\n";
        let (reads, _) = call(&mut socket, request).await;
        most_reads = most_reads.max(reads);
    }
    assert_eq!(most_reads, 2, "the head comes by itself");
}
