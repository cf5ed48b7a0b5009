use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_webhook::{
    BoxError, Dispatcher, Event, EventKind, Payload, WebhookLayer, dispatch::DispatcherBuilder,
};

/// Long enough for any machine; it only keeps a broken test from hanging.
const PATIENCE: Duration = Duration::from_secs(30);

/// One POST that waits for its answer.
pub(crate) struct Posted {
    pub(crate) request: Request<Payload>,
    answer: oneshot::Sender<Result<u16, ()>>,
}

/// What the dispatcher did, in the order in which it did it.
pub(crate) struct World {
    pub(crate) posts: mpsc::UnboundedReceiver<Posted>,
    pub(crate) events: mpsc::UnboundedReceiver<Event>,
}

impl Posted {
    pub(crate) fn answer(self, status: u16) {
        let _ = self.answer.send(Ok(status));
    }

    pub(crate) fn fail(self) {
        let _ = self.answer.send(Err(()));
    }

    /// Whether the attempt is still there to hear the answer.
    pub(crate) fn is_waited_for(&self) -> bool {
        !self.answer.is_closed()
    }

    pub(crate) fn attempt(&self) -> &str {
        self.request.headers()["x-webhook-attempt"]
            .to_str()
            .unwrap()
    }

    pub(crate) fn id(&self) -> &str {
        self.request.headers()["x-request-id"].to_str().unwrap()
    }
}

impl World {
    /// A dispatcher whose client hands every POST to the test.
    pub(crate) fn new(builder: DispatcherBuilder) -> (Self, DispatcherBuilder) {
        let (post, posts) = mpsc::unbounded_channel();
        let (tell, events) = mpsc::unbounded_channel();
        let builder = builder
            .on_event(move |event| {
                let _ = tell.send(event.clone());
            })
            .with_client(service_fn(move |request| {
                let (answer, answered) = oneshot::channel();
                let posted = post.send(Posted { request, answer });
                async move {
                    posted.map_err(|_| "the test is over")?;
                    let status = answered.await?.map_err(|()| "as the test said")?;
                    let response = Response::builder().status(status);
                    Ok::<_, BoxError>(response.body(Full::<Bytes>::default())?)
                }
            }));
        (Self { posts, events }, builder)
    }

    pub(crate) async fn post(&mut self) -> Posted {
        let post = timeout(PATIENCE, self.posts.recv()).await;
        post.expect("a POST in time").expect("a client")
    }

    pub(crate) async fn event(&mut self) -> EventKind {
        let event = timeout(PATIENCE, self.events.recv()).await;
        let event = event.expect("an event in time").expect("a dispatcher");
        event.kind().clone()
    }

    /// The next event in which a webhook ends.
    pub(crate) async fn end(&mut self) -> EventKind {
        loop {
            let event = timeout(PATIENCE, self.events.recv()).await;
            let event = event.expect("an event in time").expect("a dispatcher");
            if event.is_final() {
                return event.kind().clone();
            }
        }
    }
}

/// Makes one call that asks for a webhook, and reads the whole response.
pub(crate) async fn call(dispatcher: &Dispatcher, host: &str, id: &str) -> http::StatusCode {
    let layer = WebhookLayer::new().with_dispatcher(dispatcher.clone());
    let service = layer.layer(service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"done"))))
    }));
    let response = service.oneshot(ask(host, id)).await.unwrap();
    let status = response.status();
    response.into_body().collect().await.unwrap();
    status
}

pub(crate) fn ask(host: &str, id: &str) -> Request<()> {
    Request::get(format!("/?webhookEndpoint=https://{host}/hook"))
        .header("x-request-id", id)
        .body(())
        .unwrap()
}

/// A service whose handler waits until the test lets it go.
pub(crate) type Gate = Arc<Mutex<Option<oneshot::Receiver<()>>>>;

pub(crate) fn gated() -> (
    oneshot::Sender<()>,
    impl Service<
        Request<()>,
        Response = Response<Full<Bytes>>,
        Error = Infallible,
        Future: Send + 'static,
    > + Clone,
) {
    let (open, opened) = oneshot::channel();
    let gate: Gate = Arc::new(Mutex::new(Some(opened)));
    let service = service_fn(move |_| {
        let opened = gate.lock().unwrap().take().unwrap();
        async move {
            opened.await.unwrap();
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"done"))))
        }
    });
    (open, service)
}

/// Makes a call that is promised its response, and runs until the test lets it go.
pub(crate) async fn run(dispatcher: &Dispatcher, host: &str, id: &str) -> oneshot::Sender<()> {
    let (open, service) = gated();
    let layer = WebhookLayer::new().with_dispatcher(dispatcher.clone());
    let service = layer.with_async_requests().layer(service);
    let mut request = ask(host, id);
    let respond = HeaderValue::from_static("respond-async");
    request.headers_mut().insert("prefer", respond);
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 202);
    open
}
