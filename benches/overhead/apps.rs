//! The same axum app five times, in a process of its own: without the layer, with Tower's `Identity`
//! in its place, with it, with it and a sink that discards, and with the hand-written middleware,
//! which discards as well.

use std::{convert::Infallible, time::Duration};

use axum::{
    Router,
    body::Body,
    middleware::from_fn_with_state,
    response::{
        IntoResponse,
        sse::{Event, Sse},
    },
    routing::post,
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use tokio::{net::TcpListener, time::sleep};
use tower::{layer::util::Identity, service_fn};
use tower_webhook::{Delivery, Dispatcher, WebhookLayer, outbox::Accepted};

use crate::support::{
    child::{Child, end_with_parent, say},
    handwritten::{Webhooks, webhook},
};

pub(crate) const ROLE: &str = "apps";

/// The process, and the ports of its apps.
pub(crate) struct Apps {
    _process: Child,
    pub(crate) id: u32,
    pub(crate) plain: u16,
    pub(crate) identity: u16,
    pub(crate) layered: u16,
    pub(crate) discarding: u16,
    pub(crate) handwritten: u16,
}

impl Apps {
    pub(crate) fn start() -> Self {
        let mut process = Child::start(ROLE);
        let [plain, identity, layered, discarding, handwritten] = process.numbers();
        let [id] = process.numbers();
        Self {
            _process: process,
            id,
            plain,
            identity,
            layered,
            discarding,
            handwritten,
        }
    }
}

/// The child's part. On one thread, so that its processor time is what requests cost.
pub(crate) fn serve() {
    end_with_parent();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let discarding = WebhookLayer::new().with_dispatcher(discarding());
        let webhooks = Webhooks::new(None, 64, |_| {});
        let handwritten = app().layer(from_fn_with_state(webhooks, webhook));
        let mut ports = Vec::new();
        for app in [
            app(),
            app().layer(Identity::new()),
            app().layer(WebhookLayer::new()),
            app().layer(discarding),
            handwritten,
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("it is bound");
            ports.push(address.port().to_string());
            tokio::spawn(async { axum::serve(NoDelay(listener), app).await });
        }
        say(&ports.join(" "));
        say(&std::process::id().to_string());
        std::future::pending::<()>().await;
    });
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
        Ok::<_, Infallible>(Accepted::in_memory())
    });
    Dispatcher::builder().with_sink(sink).build()
}

/// Accepted sockets send at once.
struct NoDelay(TcpListener);

impl axum::serve::Listener for NoDelay {
    type Io = tokio::net::TcpStream;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, address) = axum::serve::Listener::accept(&mut self.0).await;
        stream.set_nodelay(true).expect("a socket is open");
        (stream, address)
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.0.local_addr()
    }
}
