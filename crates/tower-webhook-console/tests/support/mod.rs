//! A dispatcher with some deliveries, and a console for it.
#![allow(dead_code)] // each test uses what it needs

use std::time::Duration;

use axum::Router;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_LANGUAGE,
};
use http_body_util::{BodyExt, Empty};
use serde_json::Value;
use tempfile::TempDir;
use tower::{ServiceExt, service_fn};
use tower_webhook::{
    BoxError, DeliveryId, Dispatcher, EndpointPolicy, Payload, RequestId, RetryPolicy,
    delivery::{DeliveryParts, Secret},
    dispatch::DispatcherBuilder,
    outbox::{DeliveryState, MemoryOutbox, SealingKey},
};
use tower_webhook_console::{Access, ConsoleEvents, console};
use tower_webhook_sqlite::SqliteOutbox;

pub(crate) const GOOD: &str = "good.example.com";
/// Answers with what is final.
pub(crate) const BAD: &str = "bad.example.com";
/// Answers with what is tried again much later.
pub(crate) const LATER: &str = "later.example.com";

pub(crate) struct Scene {
    pub(crate) dispatcher: Dispatcher,
    pub(crate) events: ConsoleEvents,
    pub(crate) app: Router,
    folder: TempDir,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        assert_eq!(
            self.headers["content-type"], "application/json",
            "{}",
            self.text
        );
        serde_json::from_str(&self.text).unwrap()
    }
}

pub(crate) async fn receive(request: Request<Payload>) -> Result<Response<String>, BoxError> {
    let mut response = Response::new(String::new());
    *response.status_mut() = match request.uri().host() {
        Some(GOOD) => StatusCode::NO_CONTENT,
        Some(BAD) => StatusCode::GONE,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    Ok(response)
}

/// The same with each outbox.
pub(crate) async fn with_each_outbox(test: impl AsyncFn(Scene)) {
    test(Scene::in_memory()).await;
    test(Scene::in_sqlite()).await;
}

impl Scene {
    pub(crate) fn in_memory() -> Self {
        let outbox = MemoryOutbox::new().with_history_payloads();
        Self::new(|builder, _| builder.with_outbox(outbox))
    }

    pub(crate) fn without_history_payloads() -> Self {
        Self::new(|builder, _| builder.with_outbox(MemoryOutbox::new()))
    }

    pub(crate) fn in_sqlite() -> Self {
        Self::new(|builder, folder| {
            let key = SealingKey::from_file_or_new(folder.path().join("key")).unwrap();
            let outbox = SqliteOutbox::builder(folder.path().join("webhooks.db"))
                .with_key(key)
                .with_history_payloads()
                .open();
            builder.with_outbox(outbox.unwrap())
        })
    }

    fn new(outbox: impl FnOnce(DispatcherBuilder, &TempDir) -> DispatcherBuilder) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let events = ConsoleEvents::new();
        let builder = Dispatcher::builder_with_client(service_fn(receive))
            .with_retry_policy(RetryPolicy::patient())
            .on_event(events.subscriber());
        let dispatcher = outbox(builder, &folder).build();
        let console = console(&dispatcher, Access::left_to_others())
            .with_events(&events)
            .with_actions();
        let app = Router::new().nest_service("/some/webhooks", console);
        Self {
            dispatcher,
            events,
            app,
            folder,
        }
    }

    /// Edits the file that it is in.
    pub(crate) fn sql(&self, sql: &str) {
        let file = self.folder.path().join("webhooks.db");
        let conn = rusqlite::Connection::open(file).unwrap();
        conn.execute_batch(sql).unwrap();
    }

    /// Waits until it is where it stays.
    pub(crate) async fn deliver(&self, host: &str, payload: &'static str) -> DeliveryId {
        let id = send(&self.dispatcher, host, payload).await;
        let state = match host {
            GOOD => DeliveryState::Delivered,
            BAD => DeliveryState::Dead,
            _ => DeliveryState::Waiting,
        };
        self.wait_for(id, state, 1).await;
        id
    }

    pub(crate) async fn wait_for(&self, id: DeliveryId, state: DeliveryState, attempts: usize) {
        let settled = async {
            loop {
                let record = self.dispatcher.delivery(id).await.unwrap();
                let is_there = |record: &tower_webhook::outbox::DeliveryRecord| {
                    record.state == state && record.attempts.len() == attempts
                };
                if record.as_ref().is_some_and(is_there) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(20), settled).await;
        in_time.expect("the delivery comes to its state");
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        call(
            &self.app,
            Method::GET,
            &format!("/some/webhooks/{path}"),
            &[],
        )
        .await
    }

    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        call(
            &self.app,
            Method::POST,
            &format!("/some/webhooks/{path}"),
            headers,
        )
        .await
    }

    pub(crate) async fn token(&self) -> String {
        let page = self.get("").await.text;
        let (_, rest) = page
            .split_once("name=\"console-token\" content=\"")
            .unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    }

    /// The ids on a page of the list.
    pub(crate) async fn ids(&self, query: &str) -> Vec<String> {
        ids(&self.get(&format!("api/deliveries?{query}")).await.json())
    }
}

pub(crate) fn ids(list: &Value) -> Vec<String> {
    let deliveries = list["deliveries"].as_array().unwrap();
    deliveries
        .iter()
        .map(|one| one["id"].as_str().unwrap().to_owned())
        .collect()
}

pub(crate) async fn call(
    app: &Router,
    method: Method,
    uri: &str,
    headers: &[(&str, &str)],
) -> Answer {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
    let (head, body) = app
        .clone()
        .oneshot(request.map(axum::body::Body::new))
        .await
        .unwrap()
        .into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Answer {
        status: head.status,
        headers: head.headers,
        text: String::from_utf8(bytes.into()).unwrap(),
    }
}

/// Does not wait for what becomes of it.
pub(crate) async fn send(dispatcher: &Dispatcher, host: &str, payload: &'static str) -> DeliveryId {
    let endpoint = EndpointPolicy::public().check(&format!("https://{host}/hook"));
    let mut parts = DeliveryParts::new(endpoint.unwrap(), payload.into());
    parts.status = Some(StatusCode::OK);
    parts.secret = Some(Secret::new("a-value-of-your-choice"));
    parts.headers = vec![(CONTENT_LANGUAGE, HeaderValue::from_static("de"))];
    parts.request_id = RequestId::parse(&format!("call-to-{}", &host[..3])).unwrap();
    dispatcher.deliver(parts).await.unwrap()
}
