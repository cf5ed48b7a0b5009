use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tower::{Layer, ServiceExt, service_fn};
use tower_webhook::{
    Dispatcher, EndpointPolicy, Event, EventKind, WebhookLayer,
    attempt::ResolveFuture,
    dispatch::DispatcherBuilder,
    event::{AttemptError, Outcome},
};

use super::{Stub, is_paused, loopback, pause, resume, within};

/// The default.
pub(crate) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);

/// `http` and 127.0.0.1 as well as what is public.
pub(crate) fn policy() -> EndpointPolicy {
    let policy = EndpointPolicy::public().with_insecure_http();
    policy.with_allowed_network("127.0.0.1/32").unwrap()
}

/// A service behind the layer, and what its dispatcher reports.
pub(crate) struct Api {
    pub(crate) dispatcher: Dispatcher,
    layer: WebhookLayer,
    events: UnboundedReceiver<Event>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempted {
    pub(crate) attempt: u32,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
    pub(crate) again: bool,
    pub(crate) again_in: Option<Duration>,
}

impl Api {
    /// Every name is 127.0.0.1. The clock is paused once an attempt has failed and another one
    /// is to follow.
    pub(crate) fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub(crate) fn resolving(
        answer: impl Fn(&str) -> ResolveFuture + Send + Sync + 'static,
    ) -> Self {
        Self::with(|builder| builder.with_resolver(Stub(answer)))
    }

    pub(crate) fn with(settings: impl FnOnce(DispatcherBuilder) -> DispatcherBuilder) -> Self {
        let (tell, events) = unbounded_channel();
        let builder = Dispatcher::builder()
            .with_endpoint_policy(policy())
            .with_resolver(Stub(loopback))
            .on_event(move |event| {
                // The delay until the next attempt can be as short as nothing.
                if let EventKind::Attempted {
                    again_in: Some(_), ..
                } = event.kind()
                {
                    pause();
                }
                let _ = tell.send(event.clone());
            });
        let dispatcher = settings(builder).build();
        Self {
            layer: WebhookLayer::new().with_dispatcher(dispatcher.clone()),
            dispatcher,
            events,
        }
    }

    /// The whole response to a call that names this endpoint.
    pub(crate) async fn call(&self, endpoint: &str, payload: impl Into<Bytes>) -> Response<Bytes> {
        let payload = payload.into();
        self.call_for(endpoint, move || Full::new(payload.clone()))
            .await
    }

    async fn call_for<B>(
        &self,
        endpoint: &str,
        body: impl Fn() -> B + Send + 'static,
    ) -> Response<Bytes>
    where
        B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
    {
        let service = self.layer.layer(service_fn(move |_: Request<()>| {
            let response = Response::new(body());
            async { Ok::<_, Infallible>(response) }
        }));
        let endpoint = utf8_percent_encode(endpoint, NON_ALPHANUMERIC);
        let request = Request::get(format!("/?webhookEndpoint={endpoint}"));
        let response = service.oneshot(request.body(()).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        Response::from_parts(head, body.collect().await.unwrap().to_bytes())
    }

    /// Accepts a webhook to this endpoint.
    pub(crate) async fn send(&self, endpoint: &str) {
        self.send_bytes(endpoint, "done").await;
    }

    pub(crate) async fn send_bytes(&self, endpoint: &str, payload: impl Into<Bytes>) {
        let response = self.call(endpoint, payload).await;
        assert_eq!(response.status(), 200, "{:?}", response.body());
    }

    /// The same in as many pieces.
    pub(crate) async fn send_pieces(&self, endpoint: &str, pieces: Vec<Bytes>) {
        let frames = move || {
            let frames = pieces.clone().into_iter().map(Frame::data).map(Ok);
            StreamBody::new(futures::stream::iter(frames))
        };
        let response = self.call_for(endpoint, frames).await;
        assert_eq!(response.status(), 200, "{:?}", response.body());
    }

    pub(crate) async fn event(&mut self) -> EventKind {
        let event = within(self.events.recv()).await.expect("a hook");
        event.kind().clone()
    }

    /// The end of the next attempt.
    pub(crate) async fn attempted(&mut self) -> Attempted {
        loop {
            if let EventKind::Attempted {
                attempt,
                outcome,
                took,
                again_in,
            } = self.event().await
            {
                return Attempted {
                    attempt,
                    outcome,
                    took,
                    again: again_in.is_some(),
                    again_in,
                };
            }
        }
    }

    /// The event in which a webhook ends.
    pub(crate) async fn end(&mut self) -> EventKind {
        loop {
            let event = within(self.events.recv()).await.expect("a hook");
            if event.is_final() {
                return event.kind().clone();
            }
        }
    }

    /// One attempt at this endpoint, and no other one after it.
    pub(crate) async fn attempt(&mut self, endpoint: &str) -> Attempted {
        self.send(endpoint).await;
        self.only_attempt().await
    }

    /// The end of the attempt under way. Its delivery is given up; the client stays, and so do
    /// its connections.
    pub(crate) async fn only_attempt(&mut self) -> Attempted {
        let was_paused = is_paused();
        let attempted = self.attempted().await;
        self.dispatcher.shutdown(Duration::ZERO).await;
        if !was_paused {
            resume();
        }
        attempted
    }

    /// The attempt under way, which only its deadline can end: nobody waits for it in real time.
    pub(crate) async fn attempt_at_deadline(&mut self) -> Attempted {
        pause();
        let attempted = self.only_attempt().await;
        assert_eq!(attempted.outcome, Outcome::Failed(AttemptError::TimedOut));
        assert!(attempted.again);
        let late = attempted.took.saturating_sub(ATTEMPT_TIMEOUT);
        assert!(
            late < Duration::from_millis(50),
            "{late:?} after the deadline"
        );
        attempted
    }
}
