//! A document says what is on the wire: compared with calls and deliveries that are made.

use std::{convert::Infallible, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, request::Builder};
use http_body_util::{BodyExt, Empty};
use serde_json::{Value, json};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tower::{Layer, ServiceExt, service_fn};
use tower_webhook::{BoxError, Dispatcher, Payload, WebhookLayer};

use crate::{api_with, delivery, json_response, keys, patched_by, run, validator::resolved};

/// Those of any POST, and those by which a delivery is recognised that comes back.
const OF_ANY_DELIVERY: [&str; 5] = [
    "content-length",
    "content-type",
    "host",
    "user-agent",
    "x-webhook-loop",
];

type Sent = (HeaderMap, Bytes);

/// A layer whose deliveries go nowhere else.
fn layer() -> (WebhookLayer, UnboundedReceiver<Sent>) {
    let (note, sent) = mpsc::unbounded_channel();
    let client = service_fn(move |request: Request<Payload>| {
        let note = note.clone();
        async move {
            let (head, payload) = request.into_parts();
            note.send((head.headers, payload.collect().await?.to_bytes()))?;
            Ok::<_, BoxError>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let dispatcher = Dispatcher::builder().with_client(client).build();
    let layer = WebhookLayer::new().with_dispatcher(dispatcher);
    (layer.with_longest_wait(Duration::from_secs(1)), sent)
}

fn picture() -> Value {
    json!({ "type": "object", "required": ["url"] })
}

/// What the document says of the operation, and the document.
fn described(layer: &WebhookLayer) -> Value {
    let responses = json!({ "200": json_response("The picture", &picture()) });
    patched_by(layer, &api_with(json!({ "responses": responses })))
}

fn asking() -> Builder {
    Request::post("/run?webhookEndpoint=https%3A%2F%2Fexample.com%2Fhook")
}

async fn call(
    layer: &WebhookLayer,
    request: Builder,
    does: fn() -> Response<Body>,
) -> Response<Bytes> {
    let handler = service_fn(move |_| std::future::ready(Ok::<_, Infallible>(does())));
    let request = request.body(()).unwrap();
    let response = layer.layer(handler).oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    match body.collect().await {
        Ok(body) => Response::from_parts(head, body.to_bytes()),
        Err(_) => Response::from_parts(head, Bytes::new()),
    }
}

fn rendered() -> Response<Body> {
    let response = Response::builder().header("content-type", "application/json");
    response.body(r#"{"url":"a.png"}"#.into()).unwrap()
}

fn broken() -> Response<Body> {
    let frames = [Ok("half"), Err("broken")];
    Response::new(Body::from_stream(futures::stream::iter(frames)))
}

/// A value is what this schema of the document says.
#[track_caller]
fn assert_is(document: &Value, schema: &Value, value: &Value) {
    let mut whole = schema.clone();
    whole["components"] = document["components"].clone();
    let validator = jsonschema::validator_for(&whole).unwrap();
    let errors: Vec<_> = validator
        .iter_errors(value)
        .map(|error| error.to_string())
        .collect();
    assert!(errors.is_empty(), "{value}: {errors:?}");
}

/// These are the headers of a delivery.
#[track_caller]
fn assert_are_described(document: &Value, headers: &HeaderMap) {
    let parameters = delivery(run(document))["parameters"].as_array().unwrap();
    let parameters: Vec<_> = parameters
        .iter()
        .map(|one| resolved(document, one))
        .collect();
    let name_of = |parameter: &Value| parameter["name"].as_str().unwrap().to_ascii_lowercase();
    for parameter in &parameters {
        match headers.get(name_of(parameter)) {
            None => assert_ne!(parameter["required"], true, "{parameter} is missing"),
            Some(value) => {
                let text = value.to_str().unwrap();
                let value = match parameter["schema"]["type"] == "integer" {
                    true => json!(text.parse::<u64>().unwrap()),
                    false => json!(text),
                };
                assert_is(document, &parameter["schema"], &value);
            }
        }
    }
    for name in headers.keys() {
        let is_described = parameters
            .iter()
            .any(|parameter| name_of(parameter) == name.as_str());
        assert!(
            is_described || OF_ANY_DELIVERY.contains(&name.as_str()),
            "{name}"
        );
    }
}

#[track_caller]
fn body_of_type(document: &Value, body: &Value, headers: &HeaderMap, bytes: &[u8]) {
    let media_type = headers["content-type"].to_str().unwrap();
    let content = &body["content"][media_type];
    assert!(content.is_object(), "{media_type} is not described");
    let value = serde_json::from_slice(bytes).unwrap();
    assert_is(document, &content["schema"], &value);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_is_what_the_callback_says() {
    let (layer, mut sent) = layer();
    let document = described(&layer);
    let signed = asking().header("x-webhook-secret", "a secret");
    for (request, does) in [
        (signed, rendered as fn() -> Response<Body>),
        (asking(), rendered),
        (asking().header("x-request-id", "run-1"), broken),
    ] {
        call(&layer, request, does).await;
        let (headers, payload) = sent.recv().await.unwrap();
        assert_are_described(&document, &headers);
        let body = &delivery(run(&document))["requestBody"];
        body_of_type(&document, body, &headers, &payload);
    }
}

#[tokio::test(start_paused = true)]
async fn the_layers_own_answers_are_what_the_responses_say() {
    let (layer, mut sent) = layer();
    let document = described(&layer);
    let full = Dispatcher::builder().with_max_outstanding(0).build();
    let full = layer.clone().with_dispatcher(full);
    for (layer, request, status) in [
        (
            &layer,
            Request::post("/run?webhookEndpoint="),
            StatusCode::BAD_REQUEST,
        ),
        (&full, asking(), StatusCode::SERVICE_UNAVAILABLE),
        (
            &layer,
            asking().header("x-webhook-loop", "1"),
            StatusCode::LOOP_DETECTED,
        ),
        (
            &layer,
            asking().header("prefer", "respond-async"),
            StatusCode::ACCEPTED,
        ),
    ] {
        let answer = call(layer, request, rendered).await;
        assert_eq!(answer.status(), status);
        let said = resolved(&document, &run(&document)["responses"][status.as_str()]);
        body_of_type(&document, said, answer.headers(), answer.body());
        let headers = said.get("headers").map(keys).unwrap_or_default();
        for name in headers {
            let value = answer.headers()[name].to_str().unwrap();
            let value = value.parse::<u64>().map_or(json!(value), Value::from);
            assert_is(&document, &said["headers"][name]["schema"], &value);
        }
    }
    sent.recv().await.unwrap();
}
