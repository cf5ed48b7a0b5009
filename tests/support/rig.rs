//! A dispatcher that may reach loopback, what it says, and a receiver.

use std::collections::HashSet;

use tokio::sync::mpsc::{self, UnboundedReceiver};
use tower_webhook::{
    Dispatcher, EndpointPolicy, Event, EventKind, RequestId, WebhookLayer,
    dispatch::DispatcherBuilder, event::FailReason,
};

use super::{BACKSTOP, receiver::Receiver, soon};

#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) receiver: Receiver,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) events: Events,
}

/// Every event, in order.
#[derive(Debug)]
pub(crate) struct Events {
    events: UnboundedReceiver<Event>,
    ended: Vec<Event>,
}

/// Accepts endpoints on loopback.
pub(crate) fn builder() -> (DispatcherBuilder, Events) {
    let (tell, events) = mpsc::unbounded_channel();
    let policy = EndpointPolicy::public()
        .with_insecure_http()
        .with_insecure_private_networks();
    let builder = Dispatcher::builder()
        .with_endpoint_policy(policy)
        .on_event(move |event| drop(tell.send(event.clone())));
    let events = Events {
        events,
        ended: Vec::new(),
    };
    (builder, events)
}

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::with(|builder| builder).await
    }

    pub(crate) async fn with(
        configure: impl FnOnce(DispatcherBuilder) -> DispatcherBuilder,
    ) -> Self {
        Self::towards(Receiver::start().await, configure)
    }

    pub(crate) fn towards(
        receiver: Receiver,
        configure: impl FnOnce(DispatcherBuilder) -> DispatcherBuilder,
    ) -> Self {
        Self::built(receiver, |builder| configure(builder).build())
    }

    /// For settings that change the builder's type.
    pub(crate) async fn with_built(build: impl FnOnce(DispatcherBuilder) -> Dispatcher) -> Self {
        Self::built(Receiver::start().await, build)
    }

    fn built(receiver: Receiver, build: impl FnOnce(DispatcherBuilder) -> Dispatcher) -> Self {
        let (builder, events) = builder();
        Self {
            receiver,
            dispatcher: build(builder),
            events,
        }
    }

    pub(crate) fn layer(&self) -> WebhookLayer {
        WebhookLayer::new().with_dispatcher(self.dispatcher.clone())
    }

    /// This path with a wish for a webhook.
    pub(crate) fn asking(&self, path: &str) -> String {
        format!("{path}?webhookEndpoint={}", self.receiver.url("/hook"))
    }

    /// How the only webhook ended, once nothing more can happen.
    pub(crate) async fn only_end(&mut self) -> EventKind {
        let end = self.events.end().await;
        self.expect_no_more(1).await;
        end.kind().clone()
    }

    pub(crate) async fn expect_delivered(&mut self) {
        assert_eq!(self.only_end().await, EventKind::Delivered { attempts: 1 });
    }

    /// The endpoint was told, where it is told of such a failure, and got nothing else.
    pub(crate) async fn expect_failed(&mut self, reason: FailReason) {
        if !reason.is_told() {
            assert_eq!(self.only_end().await, EventKind::Failed(reason));
            assert!(self.receiver.rest().is_empty(), "something was sent");
            return;
        }
        let notice = self.receiver.next().await;
        assert_eq!(notice.header("x-webhook-failure"), reason.name());
        assert_eq!(notice.header("content-type"), "application/problem+json");
        let problem: serde_json::Value = serde_json::from_slice(&notice.body).unwrap();
        let name = reason.name();
        assert_eq!(problem["type"], format!("urn:tower-webhook:failure:{name}"));
        assert_eq!(problem["run_id"], notice.header("x-request-id"));
        self.expect_delivered().await;
        assert_eq!(self.dispatcher.counts().noticed, 1);
        assert!(self.receiver.rest().is_empty(), "sent more than once");
    }

    /// Of so many accepted webhooks each had its end, none had two, and none is under way.
    pub(crate) async fn expect_no_more(&mut self, accepted: u64) {
        let report = self.dispatcher.shutdown(BACKSTOP).await;
        assert_eq!((report.abandoned.len(), report.unfinished), (0, 0));
        self.events.rest();
        let ended = self
            .events
            .ended
            .iter()
            .map(|event| event.request_id().unwrap());
        let distinct: HashSet<_> = ended.map(RequestId::as_str).collect();
        let ended = &self.events.ended;
        assert_eq!(ended.len(), distinct.len(), "one end too many: {ended:?}");
        assert_eq!(ended.len() as u64, accepted, "{ended:?}");
        let counts = self.dispatcher.counts();
        let ends =
            counts.handed_over + counts.delivered + counts.dead + counts.failed + counts.abandoned;
        assert_eq!((counts.accepted, ends), (accepted, accepted), "{counts:?}");
    }
}

impl Events {
    pub(crate) async fn next(&mut self) -> Event {
        let event = soon("an event", self.events.recv()).await.unwrap();
        self.note(event)
    }

    fn note(&mut self, event: Event) -> Event {
        if event.is_final() {
            self.ended.push(event.clone());
        }
        event
    }

    /// The next final event.
    pub(crate) async fn end(&mut self) -> Event {
        loop {
            let event = self.next().await;
            if event.is_final() {
                return event;
            }
        }
    }

    /// The outcome of the next attempt that ends, and whether there will be another one.
    pub(crate) async fn attempted(&mut self) -> (Event, bool) {
        loop {
            let event = self.next().await;
            if let EventKind::Attempted { again_in, .. } = event.kind() {
                let again = again_in.is_some();
                return (event, again);
            }
        }
    }

    /// What was said and not looked at yet.
    pub(crate) fn rest(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| {
            let event = self.events.try_recv().ok()?;
            Some(self.note(event))
        })
        .collect()
    }
}
