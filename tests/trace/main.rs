//! Trace context: what of a call's the endpoint gets, and the spans of attempts.

mod headers;
mod spans;
mod stored;

#[cfg(unix)]
#[path = "../support/process.rs"]
mod process;
#[path = "../../examples/opentelemetry/propagator.rs"]
mod propagator;
#[path = "../support/mod.rs"]
mod support;

use std::convert::Infallible;

use axum::body::Body;
use http::{Request, Response, request::Builder};
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt, service_fn};
use tower_webhook::WebhookLayer;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

fn traceparent() -> String {
    format!("00-{TRACE}-{SPAN}-01")
}

fn asking(url: &str) -> Builder {
    Request::post(format!("/?webhookEndpoint={url}"))
}

/// Calls a handler that says `done`.
async fn call(layer: WebhookLayer, request: Builder) {
    let handler =
        service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(Body::from("done"))));
    let calling = layer.layer(handler).oneshot(request.body(()).unwrap());
    let response = calling.await.unwrap();
    response.into_body().collect().await.unwrap();
}

/// What a caller sees who runs the example.
#[cfg(unix)]
#[tokio::test]
async fn the_example_has_the_call_and_its_webhook_in_one_trace() {
    let mut example = process::Process::example("opentelemetry", &[]);
    let printed = example.stdout.rest().await;
    assert!(example.exit().await.success(), "{printed}");
    let line = |start: &str| {
        let mut lines = printed.lines().filter(|line| line.starts_with(start));
        let line = lines
            .next()
            .unwrap_or_else(|| panic!("no {start} in\n{printed}"));
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let (call, attempt) = (line("call "), line("attempt "));
    assert_eq!(call[1..], [TRACE, &call[2], SPAN, "Server"]);
    assert_eq!(attempt[1..], [TRACE, &attempt[2], &call[2], "Client"]);
    let got = line("the endpoint gets").pop().unwrap();
    assert_eq!(got, format!("00-{TRACE}-{}-01", attempt[2]));
}
