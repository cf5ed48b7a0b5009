//! What the tests share: a folder, a receiver, and calls through the layer.

use std::{
    io::{Seek, SeekFrom, Write},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, body::Body, extract::State, http::HeaderMap, routing::post};
use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::BodyExt;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, ToSocketAddrs},
    sync::Notify,
    task::yield_now,
    time::timeout,
};
use tower::ServiceExt;
use tower_webhook::{
    DeliveryId, Dispatcher, EndpointPolicy, EventKind, RequestId, RetryPolicy, Verifier,
    WebhookLayer,
    dispatch::DispatcherBuilder,
    outbox::{DeliveryFilter, Page, SealingKey},
};
use tower_webhook_sqlite::SqliteOutbox;

pub(crate) const SECRET: &str = "a-secret-that-must-not-be-in-the-file";

/// No status: there is no answer.
pub(crate) const SILENT: u16 = 0;

/// A folder of its own, with the path of a file that is not there yet.
pub(crate) struct Folder(TempDir);

/// A webhook's receiver that answers with one status and remembers what it got.
#[derive(Clone)]
pub(crate) struct Receiver {
    address: std::net::SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    status: AtomicU16,
    posts: Mutex<Vec<Post>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) id: String,
    pub(crate) attempt: u32,
    pub(crate) signed: bool,
    pub(crate) body: Bytes,
}

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.path().join("webhooks.db")
    }

    /// Where its write-ahead log is.
    pub(crate) fn log(&self) -> PathBuf {
        self.file().with_extension("db-wal")
    }

    pub(crate) fn shared_memory(&self) -> PathBuf {
        self.file().with_extension("db-shm")
    }

    pub(crate) fn outbox(&self) -> SqliteOutbox {
        SqliteOutbox::open(self.file(), key(1)).unwrap()
    }

    pub(crate) fn dispatcher(&self) -> Dispatcher {
        dispatcher().with_outbox(self.outbox()).build()
    }

    pub(crate) fn sql(&self, sql: &str) {
        let conn = Connection::open(self.file()).unwrap();
        conn.execute_batch(sql).unwrap();
    }

    pub(crate) fn count(&self, condition: &str) -> i64 {
        self.count_in("delivery", condition)
    }

    pub(crate) fn count_in(&self, table: &str, condition: &str) -> i64 {
        let conn = Connection::open(self.file()).unwrap();
        let sql = format!("SELECT count(*) FROM {table} WHERE {condition}");
        conn.query_row(&sql, [], |row| row.get(0)).unwrap()
    }

    /// One text out of the file.
    pub(crate) fn text(&self, query: &str) -> String {
        let conn = Connection::open(self.file()).unwrap();
        conn.query_row(query, [], |row| row.get(0)).unwrap()
    }

    /// Spoils the first page of a table, so that nothing in it can be found.
    pub(crate) fn damage(&self, table: &str) {
        self.damage_page("SELECT rootpage FROM sqlite_schema WHERE name = ?1", table);
    }

    /// Spoils a page in the middle of a table: a few rows cannot be read.
    pub(crate) fn damage_few(&self, table: &str) {
        self.damage_page(
            "SELECT pageno FROM dbstat WHERE name = ?1 AND pagetype = 'leaf'
             ORDER BY path LIMIT 1 OFFSET 3",
            table,
        );
    }

    /// In a file so large that it is not looked through when it is opened. It must not be open.
    fn damage_page(&self, query: &str, table: &str) {
        self.sql("INSERT INTO payload VALUES (100000, zeroblob(70000000))");
        let conn = Connection::open(self.file()).unwrap();
        let page: i64 = conn.query_row(query, [table], |row| row.get(0)).unwrap();
        drop(conn);
        let file = std::fs::OpenOptions::new().write(true).open(self.file());
        let mut file = file.unwrap();
        file.seek(SeekFrom::Start((page as u64 - 1) * 4_096))
            .unwrap();
        file.write_all(&[0xa5; 4_096]).unwrap();
    }

    /// All bytes that are on the disk: the file, its log and so on.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let files = std::fs::read_dir(self.0.path()).unwrap();
        let read = |file: std::io::Result<std::fs::DirEntry>| std::fs::read(file.unwrap().path());
        files.flat_map(|file| read(file).unwrap()).collect()
    }
}

pub(crate) fn key(byte: u8) -> SealingKey {
    SealingKey::from_bytes([byte; 32])
}

pub(crate) fn dispatcher() -> DispatcherBuilder {
    let policy = EndpointPolicy::public()
        .with_insecure_http()
        .with_insecure_private_networks();
    Dispatcher::builder()
        .with_endpoint_policy(policy)
        .on_event(|_| moved())
}

/// A dispatcher, and how often its outbox did not take a delivery.
pub(crate) fn counting(outbox: SqliteOutbox) -> (Dispatcher, Arc<AtomicUsize>) {
    let failures = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&failures);
    let dispatcher = dispatcher()
        .with_outbox(outbox)
        .on_event(move |event| {
            if *event.kind() == EventKind::OutboxFailed {
                counted.fetch_add(1, Ordering::SeqCst);
            }
            moved();
        })
        .build();
    (dispatcher, failures)
}

impl Receiver {
    pub(crate) async fn start(status: u16) -> Self {
        Self::start_at(status, "127.0.0.1:0").await
    }

    pub(crate) async fn start_at(status: u16, address: impl ToSocketAddrs) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let receiver = Self {
            address: listener.local_addr().unwrap(),
            shared: Arc::new(Shared {
                status: status.into(),
                posts: Mutex::default(),
            }),
        };
        let app = Router::new()
            .fallback(post(receive))
            .with_state(receiver.clone());
        tokio::spawn(async { axum::serve(listener, app).await });
        receiver
    }

    pub(crate) fn answer(&self, status: u16) {
        self.shared.status.store(status, Ordering::SeqCst);
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Where the first attempt is answered with 404, which is tried again.
    #[allow(dead_code)] // the tests of the proxy use it
    pub(crate) fn url_not_at_first(&self) -> String {
        format!("http://{}/not-at-first", self.address)
    }

    pub(crate) fn posts(&self) -> Vec<Post> {
        self.shared.posts.lock().unwrap().clone()
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.posts().into_iter().map(|post| post.id).collect()
    }

    /// Waits until there are so many posts.
    pub(crate) async fn gets(&self, number: usize) -> Vec<Post> {
        until(|| self.shared.posts.lock().unwrap().len() >= number).await;
        self.posts()
    }
}

async fn receive(
    State(receiver): State<Receiver>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let text = |name: &str| headers[name].to_str().unwrap().to_owned();
    let attempt = text("x-webhook-attempt").parse().unwrap();
    receiver.shared.posts.lock().unwrap().push(Post {
        id: text("x-request-id"),
        attempt,
        signed: Verifier::new(SECRET).verify(&headers, &body).is_ok(),
        body,
    });
    moved();
    if uri.path() == "/not-at-first" && attempt == 1 {
        return StatusCode::NOT_FOUND;
    }
    match receiver.shared.status.load(Ordering::SeqCst) {
        SILENT => std::future::pending().await,
        status => StatusCode::from_u16(status).unwrap(),
    }
}

/// Leaves deliveries in a file that is closed then: each has had one attempt, and is due.
pub(crate) async fn leave(folder: &Folder, receiver: &Receiver, requests: &[&str]) {
    let dispatcher = dispatcher()
        .with_outbox(folder.outbox())
        .with_retry_policy(RetryPolicy::standard_webhooks())
        .build();
    for request in requests {
        call(&dispatcher, request, &receiver.url()).await;
    }
    let number = requests.len() as i64;
    until_in_file(|| folder.count("state = 'waiting' AND attempt = 2") == number).await;
    dispatcher.shutdown(Duration::from_secs(5)).await;
    drop(dispatcher);
    until_in_file(|| !folder.log().exists()).await;
    folder.sql("UPDATE delivery SET due_at = 0");
}

/// The id of the one delivery of this request.
pub(crate) async fn delivery_id(dispatcher: &Dispatcher, request: &str) -> DeliveryId {
    let of_request = DeliveryFilter::new().with_request_id(RequestId::parse(request).unwrap());
    let found = dispatcher.deliveries(&of_request, Page::first(9)).await;
    let [record] = &found.unwrap()[..] else {
        panic!("not one delivery of {request}")
    };
    record.id
}

/// One call through the layer, read to its end.
pub(crate) async fn call(dispatcher: &Dispatcher, id: &str, endpoint: &str) -> StatusCode {
    call_with(dispatcher, id, endpoint, format!("the result of {id}")).await
}

/// The response is this text.
pub(crate) async fn call_with(
    dispatcher: &Dispatcher,
    id: &str,
    endpoint: &str,
    text: String,
) -> StatusCode {
    let app = Router::new()
        .route("/run", post(|body: Bytes| async { body }))
        .layer(WebhookLayer::new().with_dispatcher(dispatcher.clone()));
    let request = Request::post(format!("/run?webhookEndpoint={endpoint}"))
        .header("x-request-id", id)
        .header("x-webhook-secret", SECRET)
        .body(Body::from(text))
        .unwrap();
    let response = app.oneshot(request).await.unwrap();
    let status = response.status();
    response.into_body().collect().await.unwrap();
    status
}

/// Somebody got a webhook, or a dispatcher had something to say.
static MOVED: Notify = Notify::const_new();

const PATIENCE: Duration = Duration::from_secs(60);

/// Has [`until`] look again.
pub(crate) fn moved() {
    MOVED.notify_waiters();
}

/// Looks again with each event, and whenever somebody gets a webhook.
pub(crate) async fn until(mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        loop {
            let moved = MOVED.notified();
            if is_so() {
                return;
            }
            moved.await;
        }
    };
    let came_so = timeout(PATIENCE, waiting).await;
    came_so.expect("it comes so within a minute");
}

/// Looks again and again: of what another thread or process does to a file nobody is told.
pub(crate) async fn until_in_file(mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "it did not come so in a minute");
        yield_now().await;
    }
}
