//! This crate: requests go through the layer, and its dispatcher delivers.

use std::{convert::Infallible, fmt, future::ready, sync::Arc, time::Duration};

use axum::{Router, body::Body, routing::post};
use bytes::Bytes;
use futures::{FutureExt, future::LocalBoxFuture};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_webhook::{EventKind, WebhookLayer, dispatch::DispatcherBuilder, layer::ResponseBody};

use super::{
    super::{
        endpoints::{PAYLOAD, requests},
        window::Window,
    },
    Load, Peer, timed,
};

pub(crate) struct Layered<S> {
    service: S,
    window: Arc<Window>,
    endpoints: Vec<String>,
}

impl<S> Layered<S> {
    /// `wrap` puts the layer around a service.
    pub(crate) fn new(
        dispatcher: DispatcherBuilder,
        endpoints: Vec<String>,
        wrap: impl FnOnce(&WebhookLayer) -> S,
    ) -> Self {
        let window = Arc::new(Window::default());
        let ends = Arc::clone(&window);
        let dispatcher = dispatcher
            .on_event(move |event| {
                if event.is_final() {
                    ends.leave(matches!(event.kind(), EventKind::Delivered { .. }));
                }
            })
            .build();
        Self {
            service: wrap(&WebhookLayer::new().with_dispatcher(dispatcher)),
            window,
            endpoints,
        }
    }

    /// Delivers to these from now on.
    pub(crate) fn deliver_to(&mut self, endpoints: Vec<String>) {
        self.endpoints = endpoints;
    }
}

impl<S, B> Peer for Layered<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: fmt::Debug + Send,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + Unpin,
    B::Error: fmt::Debug,
{
    fn name(&self) -> &'static str {
        "tower-webhook"
    }

    fn run(&mut self, load: Load) -> LocalBoxFuture<'_, Duration> {
        async move {
            let requests = requests(load.number, &self.endpoints);
            let (mut service, window) = (self.service.clone(), Arc::clone(&self.window));
            let took = timed(async move {
                for request in requests {
                    window.room(load.outstanding).await;
                    window.enter();
                    forward(&mut service, request).await;
                }
                window.at_most(0).await;
            })
            .await;
            assert_eq!(self.window.lost(), 0, "every delivery gets there");
            took
        }
        .boxed_local()
    }
}

/// The smallest service with the layer around it.
pub(crate) fn plain(
    layer: &WebhookLayer,
) -> impl Service<
    Request<Body>,
    Response = Response<ResponseBody<Full<Bytes>>>,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send
+ use<> {
    let answer = || Response::new(Full::new(Bytes::from_static(PAYLOAD)));
    layer.layer(service_fn(move |_| ready(Ok(answer()))))
}

/// An axum app with the layer around it.
pub(crate) fn axum(layer: &WebhookLayer) -> Router {
    app().layer(layer.clone())
}

/// An axum app.
pub(super) fn app() -> Router {
    Router::new().route("/run", post(|| async { Bytes::from_static(PAYLOAD) }))
}

/// One request, its response read to the end.
pub(crate) async fn forward<S, B>(service: &mut S, request: Request<Body>)
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: fmt::Debug,
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: fmt::Debug,
{
    let service = service.ready().await.expect("the service is ready");
    let response = service.call(request).await.expect("the service answers");
    assert!(response.status().is_success(), "{}", response.status());
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        frame.expect("the body has no error");
    }
}
