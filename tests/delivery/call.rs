//! A caller within the process, and a clock that goes on when it is told to.

use std::{convert::Infallible, sync::mpsc, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, request::Builder};
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt, service_fn};
use tower_webhook::WebhookLayer;

use crate::support::{BACKSTOP, rig::Rig};

/// Asks for a webhook to this URL.
pub(crate) fn asking(url: &str) -> Builder {
    Request::get(format!("/?webhookEndpoint={url}"))
}

/// Calls a handler that gives this response, and reads what comes of it.
pub(crate) async fn call(layer: WebhookLayer, request: Builder, response: Response<Body>) -> Bytes {
    let mut response = Some(response);
    let handler =
        service_fn(move |_| std::future::ready(Ok::<_, Infallible>(response.take().unwrap())));
    let request = request.body(()).unwrap();
    let response = layer.layer(handler).oneshot(request).await.unwrap();
    response.into_body().collect().await.unwrap().to_bytes()
}

/// One call that ends in a delivery of `done` to this URL.
pub(crate) async fn deliver(rig: &Rig, url: &str) {
    let done = call(rig.layer(), asking(url), Response::new("done".into())).await;
    assert_eq!(done, "done");
}

/// Tokio's clock, stopped while sockets do their work.
///
/// A paused clock goes on by itself whenever the runtime is idle, which it also is while a packet
/// is on its way. It does not while a blocking task runs.
pub(crate) struct Clock {
    _stopped: mpsc::Sender<()>,
}

impl Clock {
    pub(crate) fn stop() -> Self {
        tokio::time::pause();
        let (stopped, going) = mpsc::channel::<()>();
        // A test that is stuck runs into its backstop when the clock goes on.
        tokio::task::spawn_blocking(move || going.recv_timeout(3 * BACKSTOP));
        Self { _stopped: stopped }
    }

    /// Whatever waits for its next attempt is due then.
    pub(crate) async fn to_the_next_attempt(&self) {
        self.forward(Duration::from_secs(5)).await;
    }

    pub(crate) async fn forward(&self, by: Duration) {
        // Timers are rounded up to the next millisecond.
        tokio::time::advance(by + Duration::from_millis(1)).await;
    }
}
