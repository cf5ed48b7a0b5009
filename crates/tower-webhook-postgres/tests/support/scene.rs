//! Calls through the layer and a receiver of webhooks.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, extract::State, http::HeaderMap, routing::post};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use tokio::{net::TcpListener, sync::Notify, time::timeout};
use tower::ServiceExt;
use tower_webhook::{
    Dispatcher, EndpointPolicy, Verifier, WebhookLayer, dispatch::DispatcherBuilder,
};

pub(crate) const SECRET: &str = "a-secret-that-must-not-be-in-the-database";
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A receiver that answers with one status and records requests.
#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    status: AtomicU16,
    posts: Mutex<Vec<Post>>,
    came: Notify,
}

#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) id: String,
    pub(crate) attempt: u32,
    pub(crate) signed: bool,
    pub(crate) body: Bytes,
}

impl Receiver {
    pub(crate) async fn start(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self {
            address: listener.local_addr().unwrap(),
            shared: Arc::new(Shared {
                status: status.into(),
                posts: Mutex::default(),
                came: Notify::new(),
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

    pub(crate) fn posts(&self) -> Vec<Post> {
        self.shared.posts.lock().unwrap().clone()
    }

    /// Waits for this number of requests.
    pub(crate) async fn gets(&self, number: usize) -> Vec<Post> {
        self.until(|posts| posts.len() >= number).await;
        self.posts()
    }

    /// Waits for a condition, checked after each request.
    pub(crate) async fn until(&self, is_so: impl Fn(&[Post]) -> bool) {
        let waiting = async {
            loop {
                let came = self.shared.came.notified();
                if is_so(&self.shared.posts.lock().unwrap()) {
                    return;
                }
                came.await;
            }
        };
        let came_so = timeout(PATIENCE, waiting).await;
        came_so.expect("it comes so within a minute");
    }
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let text = |name: &str| headers[name].to_str().unwrap().to_owned();
    let post = Post {
        id: text("x-request-id"),
        attempt: text("x-webhook-attempt").parse().unwrap(),
        signed: Verifier::new(SECRET).verify(&headers, &body).is_ok(),
        body,
    };
    receiver.shared.posts.lock().unwrap().push(post);
    receiver.shared.came.notify_waiters();
    StatusCode::from_u16(receiver.shared.status.load(Ordering::SeqCst)).unwrap()
}

pub(crate) fn policy() -> EndpointPolicy {
    EndpointPolicy::public()
        .with_insecure_http()
        .with_insecure_private_networks()
}

pub(crate) fn dispatcher() -> DispatcherBuilder {
    Dispatcher::builder().with_endpoint_policy(policy())
}

/// Makes a call through the layer and reads the whole response.
pub(crate) async fn call(dispatcher: &Dispatcher, id: &str, endpoint: &str) -> StatusCode {
    let app = Router::new()
        .route("/run", post(|body: Bytes| async { body }))
        .layer(WebhookLayer::new().with_dispatcher(dispatcher.clone()));
    let request = Request::post(format!("/run?webhookEndpoint={endpoint}"))
        .header("x-request-id", id)
        .header("x-webhook-secret", SECRET)
        .body(Body::from(format!("the result of {id}")))
        .unwrap();
    let response = app.oneshot(request).await.unwrap();
    let status = response.status();
    response.into_body().collect().await.unwrap();
    status
}

/// Polls a condition; the database does not notify.
pub(crate) async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let came_so = timeout(PATIENCE, waiting).await;
    came_so.expect("it comes so within a minute");
}
