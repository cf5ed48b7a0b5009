//! Webhooks in distributed traces, with `tracing-opentelemetry`: a call, the handler's span, and the
//! attempt to deliver the webhook are in one trace, and so is what the receiver does.
//!
//! ```sh
//! cargo run --example opentelemetry
//! ```
//!
//! It prints the `traceparent` that the caller sends, the one that the endpoint gets, and the spans that
//! were recorded. Here they are kept in memory; a service exports them, with `opentelemetry-otlp` say.
//! What a service of yours needs of this is in `propagator.rs` and in `record` and `api`.

mod propagator;

use std::{error::Error, time::Duration};

use axum::{Router, extract::Request, http::HeaderMap, routing::post};
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};
use tower_http::trace::TraceLayer;
use tower_webhook::{Dispatcher, EndpointPolicy, WebhookLayer, delivery::TraceParent};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::layer::SubscriberExt;

use self::propagator::{OpenTelemetry, context_of};

/// What the caller's own tracing has made up.
const OF_THE_CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Records spans from now on.
fn record(exporter: InMemorySpanExporter) -> Result<SdkTracerProvider, Box<dyn Error>> {
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(exporter)
        .build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("example"));
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer))?;
    Ok(provider)
}

/// The API, with a span for each call around the layer for webhooks.
fn api(dispatcher: Dispatcher) -> Router {
    let spans = TraceLayer::new_for_http().make_span_with(|request: &Request| {
        let span = tracing::info_span!("call", otel.kind = "server");
        let sent = request.headers().get("traceparent");
        let sent = sent.and_then(|value| TraceParent::parse(value.to_str().ok()?));
        if let Some(sent) = sent {
            let _ = span.set_parent(context_of(sent));
        }
        span
    });
    Router::new()
        .route(
            "/greet",
            post(async |name: String| format!("Hello, {name}!")),
        )
        .layer(WebhookLayer::new().with_dispatcher(dispatcher))
        .layer(spans)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let exporter = InMemorySpanExporter::default();
    let provider = record(exporter.clone())?;

    let (received, mut webhooks) = mpsc::unbounded_channel();
    let receiver = Router::new().route(
        "/hook",
        post(async move |headers: HeaderMap| {
            let _ = received.send(headers);
        }),
    );
    let endpoint = format!("http://{}/hook", serve(receiver).await?);

    // For trying out on one machine. Without these two, endpoints are https and public.
    let policy = EndpointPolicy::public()
        .with_insecure_http()
        .with_insecure_private_networks();
    let dispatcher = Dispatcher::builder()
        .with_endpoint_policy(policy)
        .with_trace_propagator(OpenTelemetry)
        .build();
    let api = format!("http://{}/greet", serve(api(dispatcher.clone())).await?);

    println!("the caller sends   {OF_THE_CALLER}");
    let client = reqwest::Client::builder().no_proxy().build()?;
    let call = client
        .post(api)
        .query(&[("webhookEndpoint", &endpoint)])
        .header("traceparent", OF_THE_CALLER)
        .body("Ada");
    call.send().await?.error_for_status()?;
    let webhook = timeout(Duration::from_secs(10), webhooks.recv()).await?;
    let webhook = webhook.ok_or("there is no receiver")?;
    println!("the endpoint gets  {}", webhook["traceparent"].to_str()?);

    dispatcher.shutdown(Duration::from_secs(10)).await;
    provider.force_flush()?;
    println!("\n        trace                            span             parent");
    for span in exporter.get_finished_spans()? {
        let (context, parent) = (&span.span_context, span.parent_span_id);
        let (trace, id) = (context.trace_id(), context.span_id());
        println!(
            "{:<7} {trace} {id} {parent} {:?}",
            span.name, span.span_kind
        );
    }
    Ok(())
}

/// Serves on a free port of this machine, and says at which address.
async fn serve(app: Router) -> std::io::Result<std::net::SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async { axum::serve(listener, app).await });
    Ok(address)
}
