//! The same axum app several times, in a process of its own: without the layer, with the layer in
//! its router, the same with a sink that discards, with Tower's `Identity` in the
//! router, with a task that has a bare client post a prepared request, and with the hand-written
//! middleware. Instead of being posted, all is discarded.

use std::{convert::Infallible, future::ready, time::Duration};

use axum::{
    Router, ServiceExt,
    body::{Body, to_bytes},
    extract::Request,
    middleware::from_fn_with_state,
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
    routing::post,
    serve::IncomingStream,
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use tokio::{net::TcpListener, runtime, sync::mpsc, time::sleep};
use tower::{
    Layer, Service, ServiceExt as _, layer::util::Identity, service_fn, util::MapResponseLayer,
};
use tower_webhook::{Delivery, Dispatcher, Payload, WebhookLayer};

use crate::support::{
    child::{Child, end_with_parent, say},
    handwritten::{Webhooks, webhook},
};

/// On tokio's own choice of threads, as `#[tokio::main]` has it.
pub(crate) const ROLE: &str = "apps";
/// On one thread, which does nothing else.
pub(crate) const ONE_THREAD: &str = "apps-on-one-thread";

/// The process, and the ports of its apps.
pub(crate) struct Apps {
    _process: Child,
    pub(crate) id: u32,
    pub(crate) plain: u16,
    pub(crate) identity: u16,
    pub(crate) inside: u16,
    pub(crate) capturing_inside: u16,
    pub(crate) bare: u16,
    pub(crate) handwritten: u16,
}

impl Apps {
    pub(crate) fn start(role: &str) -> Self {
        let mut process = Child::start(role);
        let [plain, identity, inside, capturing_inside, bare, handwritten] = process.numbers();
        let [id] = process.numbers();
        Self {
            _process: process,
            id,
            plain,
            identity,
            inside,
            capturing_inside,
            bare,
            handwritten,
        }
    }
}

/// The child's part, in this role.
pub(crate) fn serve(role: &str) {
    end_with_parent();
    let runtime = match role {
        ONE_THREAD => runtime::Builder::new_current_thread().enable_all().build(),
        _ => runtime::Builder::new_multi_thread().enable_all().build(),
    };
    runtime.expect("a runtime").block_on(async {
        let layer = WebhookLayer::new();
        let capturing = WebhookLayer::new().with_dispatcher(discarding());
        let webhooks = Webhooks::new(None, 64, |_| {});
        let handwritten = app().layer(from_fn_with_state(webhooks, webhook));
        let ports = [
            start(app().into_make_service()).await,
            start(app().layer(Identity::new()).into_make_service()).await,
            start(app().layer(layer.clone()).into_make_service()).await,
            start(app().layer(capturing.clone()).into_make_service()).await,
            start(ServiceExt::<Request>::into_make_service(bare().await)).await,
            start(handwritten.into_make_service()).await,
        ];
        say(&ports.map(|port| port.to_string()).join(" "));
        say(&std::process::id().to_string());
        std::future::pending::<()>().await;
    });
}

/// Starts to serve an app as `axum::serve` does it, and says at which port.
async fn start<M, S>(app: M) -> u16
where
    M: for<'a> Service<IncomingStream<'a, TcpListener>, Error = Infallible, Response = S>,
    M: Send + 'static,
    for<'a> <M as Service<IncomingStream<'a, TcpListener>>>::Future: Send,
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async { axum::serve(listener, app).await });
    address.port()
}

fn app() -> Router {
    Router::new()
        .route("/1k", post(|| async { bytes::<{ 1 << 10 }>() }))
        .route("/64k", post(|| async { bytes::<{ 64 << 10 }>() }))
        .route("/1m", post(|| async { bytes::<{ 1 << 20 }>() }))
        .route("/sse", post(events))
}

fn bytes<const LEN: usize>() -> Body {
    static ZEROS: [u8; 1 << 20] = [0; 1 << 20];
    Body::from(Bytes::from_static(&ZEROS[..LEN]))
}

/// Eight events, a millisecond apart.
async fn events() -> impl IntoResponse {
    Sse::new(stream::iter(0..8).then(|number| async move {
        if number > 0 {
            sleep(Duration::from_millis(1)).await;
        }
        Ok::<_, Infallible>(Event::default().data("0123456789abcdef"))
    }))
}

fn discarding() -> Dispatcher {
    let sink = service_fn(|delivery: Delivery| async move {
        drop(delivery);
        Ok::<_, Infallible>(())
    });
    Dispatcher::builder().with_sink(sink).build()
}

/// The app, and for each request a task that posts another one, which a dispatcher has prepared and
/// signed beforehand.
async fn bare() -> impl Service<
    Request,
    Response = Response,
    Error = Infallible,
    Future = impl Future<Output = Result<Response, Infallible>> + Send,
> + Clone
+ Send {
    let (keep, mut kept) = mpsc::unbounded_channel();
    let client = service_fn(move |request: http::Request<Payload>| {
        let kept = keep.send(request).map(|()| Response::new(Body::empty()));
        ready(kept)
    });
    let dispatcher = Dispatcher::builder().with_client(client).build();
    let layered = app().layer(WebhookLayer::new().with_dispatcher(dispatcher));
    let wish = Request::post("/1k?webhookEndpoint=https%3A%2F%2Freceiver.example.com%2Fhook")
        .header("x-webhook-secret", "0123456789abcdef0123456789abcdef")
        .body(Body::empty())
        .expect("a valid request");
    let response = layered.oneshot(wish).await.expect("an answer");
    to_bytes(response.into_body(), usize::MAX)
        .await
        .expect("a body");
    let prepared = kept.recv().await.expect("a request to post");
    let beside = move |response: Response| {
        let request = prepared.clone();
        tokio::spawn(async move { drop(request) });
        response
    };
    MapResponseLayer::new(beside).layer(app())
}
