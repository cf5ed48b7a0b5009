//! Attempts as client spans, as an exporter of OpenTelemetry gets them.

use http::StatusCode;
use opentelemetry::{
    Value,
    trace::{SpanKind, Status, TracerProvider},
};
use opentelemetry_sdk::trace::{InMemorySpanExporter, Sampler, SdkTracerProvider, SpanData};
use tower_webhook::dispatch::DispatcherBuilder;
use tracing::{Instrument, Subscriber, subscriber::DefaultGuard};
use tracing_subscriber::layer::SubscriberExt;

use crate::{
    SPAN, TRACE, asking, call,
    propagator::OpenTelemetry,
    support::{
        clock::Clock,
        receiver::{Received, Receiver},
        rig::Rig,
    },
    traceparent,
};

/// Spans of this thread's, in which everything of a test runs.
struct Traced {
    exporter: InMemorySpanExporter,
    provider: SdkTracerProvider,
    _guard: DefaultGuard,
}

impl Traced {
    fn begin() -> Self {
        Self::sampling(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
    }

    fn sampling(sampler: Sampler) -> Self {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .with_sampler(sampler)
            .build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = tracing_subscriber::registry().with(layer);
        let guard = tracing::subscriber::set_default(subscriber);
        Self {
            exporter,
            provider,
            _guard: guard,
        }
    }

    /// The spans of that name that have ended.
    fn spans(&self, name: &str) -> Vec<SpanData> {
        self.provider.force_flush().unwrap();
        let spans = self.exporter.get_finished_spans().unwrap();
        spans.into_iter().filter(|span| span.name == name).collect()
    }

    fn attempt(&self) -> SpanData {
        let mut attempts = self.spans("attempt");
        assert_eq!(attempts.len(), 1, "{attempts:?}");
        attempts.remove(0)
    }
}

fn traced(builder: DispatcherBuilder) -> DispatcherBuilder {
    builder.with_trace_propagator(OpenTelemetry)
}

fn value(span: &SpanData, key: &str) -> Option<String> {
    let mut attributes = span.attributes.iter();
    let attribute = attributes.find(|attribute| attribute.key.as_str() == key)?;
    Some(match &attribute.value {
        Value::String(text) => text.to_string(),
        other => other.to_string(),
    })
}

fn expect_sent(webhook: &Received, attempt: &SpanData, flags: &str) {
    let context = &attempt.span_context;
    let expected = format!("00-{}-{}-{flags}", context.trace_id(), context.span_id());
    assert_eq!(webhook.header("traceparent"), expected);
}

#[tokio::test]
async fn an_attempt_is_a_client_span_in_the_trace_of_its_call() {
    let traced_spans = Traced::begin();
    let mut rig = Rig::with(traced).await;
    let request = asking(&rig.receiver.url("/hook?token=psst"))
        .header("x-request-id", "run-1")
        .header("traceparent", traceparent());
    call(rig.layer(), request).await;
    let webhook = rig.receiver.next().await;
    rig.expect_delivered().await;
    let attempt = traced_spans.attempt();
    assert_eq!(attempt.span_kind, SpanKind::Client);
    assert_eq!(attempt.span_context.trace_id().to_string(), TRACE);
    assert_eq!(attempt.parent_span_id.to_string(), SPAN);
    assert!(attempt.parent_span_is_remote);
    assert_eq!(attempt.status, Status::Unset);
    expect_sent(&webhook, &attempt, "01");
    let url = rig.receiver.url("");
    let port = url.rsplit(':').next().unwrap();
    for (key, expected) in [
        ("id", webhook.header("webhook-id")),
        ("request_id", "run-1"),
        ("attempt", "1"),
        ("http.request.method", "POST"),
        ("server.address", "127.0.0.1"),
        ("server.port", port),
        ("http.response.status_code", "200"),
    ] {
        assert_eq!(value(&attempt, key).as_deref(), Some(expected), "{key}");
    }
    assert_eq!(value(&attempt, "error.type"), None);
    assert!(!format!("{attempt:?}").contains("psst"));
}

#[tokio::test]
async fn an_attempt_is_a_child_of_the_span_around_the_layer() {
    let traced_spans = Traced::begin();
    let mut rig = Rig::with(traced).await;
    let around = tracing::info_span!("around", otel.kind = "server");
    let request = asking(&rig.receiver.url("/"));
    call(rig.layer(), request).instrument(around).await;
    let webhook = rig.receiver.next().await;
    rig.expect_delivered().await;
    let (attempt, around) = (traced_spans.attempt(), traced_spans.spans("around"));
    let around = &around[0].span_context;
    assert_eq!(attempt.span_context.trace_id(), around.trace_id());
    assert_eq!(attempt.parent_span_id, around.span_id());
    expect_sent(&webhook, &attempt, "01");
}

#[tokio::test]
async fn an_attempt_without_a_call_in_a_trace_begins_one() {
    let traced_spans = Traced::begin();
    let mut rig = Rig::with(traced).await;
    let request = asking(&rig.receiver.url("/")).header("traceparent", "garbage");
    call(rig.layer(), request).await;
    let webhook = rig.receiver.next().await;
    rig.expect_delivered().await;
    let attempt = traced_spans.attempt();
    assert_eq!(attempt.parent_span_id.to_string(), "0".repeat(16));
    expect_sent(&webhook, &attempt, "01");
}

#[tokio::test]
async fn each_attempt_is_a_span_of_its_own_and_a_failed_one_an_error() {
    let clock = Clock::stop();
    let traced_spans = Traced::begin();
    let receiver = Receiver::answering(|_| StatusCode::NOT_FOUND).await;
    let mut rig = Rig::towards(receiver, traced);
    let request = asking(&rig.receiver.url("/")).header("traceparent", traceparent());
    call(rig.layer(), request).await;
    while rig.events.attempted().await.1 {
        clock.to_the_next_attempt().await;
    }
    rig.only_end().await;
    let (webhooks, attempts) = (rig.receiver.rest(), traced_spans.spans("attempt"));
    assert_eq!((webhooks.len(), attempts.len()), (3, 3));
    for (webhook, attempt) in webhooks.iter().zip(&attempts) {
        expect_sent(webhook, attempt, "01");
        let number = Some(webhook.header("x-webhook-attempt"));
        assert_eq!(value(attempt, "attempt").as_deref(), number);
        assert_eq!(attempt.parent_span_id.to_string(), SPAN);
        assert!(matches!(attempt.status, Status::Error { .. }));
        for key in ["http.response.status_code", "error.type"] {
            assert_eq!(value(attempt, key).as_deref(), Some("404"));
        }
    }
}

#[tokio::test]
async fn an_attempt_without_an_answer_is_an_error_by_its_name() {
    let clock = Clock::stop();
    let traced_spans = Traced::begin();
    let bound = tokio::net::TcpSocket::new_v4().unwrap();
    bound.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let refusing = format!("http://{}/", bound.local_addr().unwrap());
    let mut rig = Rig::with(traced).await;
    call(rig.layer(), asking(&refusing)).await;
    while rig.events.attempted().await.1 {
        clock.to_the_next_attempt().await;
    }
    rig.only_end().await;
    let attempts = traced_spans.spans("attempt");
    assert_eq!(attempts.len(), 3);
    for attempt in attempts {
        assert!(matches!(attempt.status, Status::Error { .. }));
        assert_eq!(value(&attempt, "error.type").as_deref(), Some("connect"));
        assert_eq!(value(&attempt, "http.response.status_code"), None);
    }
}

#[tokio::test]
async fn a_call_that_is_not_sampled_has_attempts_that_are_not() {
    let traced_spans = Traced::begin();
    let mut rig = Rig::with(traced).await;
    let unsampled = format!("00-{TRACE}-{SPAN}-00");
    let request = asking(&rig.receiver.url("/")).header("traceparent", unsampled);
    call(rig.layer(), request).await;
    let webhook = rig.receiver.next().await;
    rig.expect_delivered().await;
    assert!(traced_spans.spans("attempt").is_empty());
    let sent = webhook.header("traceparent");
    assert!(
        sent.starts_with(&format!("00-{TRACE}-")) && sent.ends_with("-00"),
        "{sent}"
    );
}

#[tokio::test]
async fn without_a_propagator_the_span_is_recorded_and_the_call_s_is_sent() {
    let traced_spans = Traced::begin();
    let mut rig = Rig::new().await;
    let request = asking(&rig.receiver.url("/")).header("traceparent", traceparent());
    call(rig.layer(), request).await;
    assert_eq!(
        rig.receiver.next().await.header("traceparent"),
        traceparent()
    );
    rig.expect_delivered().await;
    assert_eq!(traced_spans.attempt().span_kind, SpanKind::Client);
}

#[tokio::test]
async fn where_nobody_records_the_span_the_call_s_is_sent() {
    let filtered =
        tracing_subscriber::registry().with(tracing_subscriber::filter::LevelFilter::WARN);
    for subscriber in [
        Box::new(filtered) as Box<dyn Subscriber + Send + Sync>,
        Box::new(tracing_subscriber::registry()),
    ] {
        let _guard = tracing::subscriber::set_default(subscriber);
        let mut rig = Rig::with(traced).await;
        let request = asking(&rig.receiver.url("/")).header("traceparent", traceparent());
        call(rig.layer(), request).await;
        assert_eq!(
            rig.receiver.next().await.header("traceparent"),
            traceparent()
        );
        rig.expect_delivered().await;
    }
}

/// A worker is started in the span of one call, and attempts deliveries of others.
#[tokio::test]
async fn an_attempt_is_not_in_the_span_that_is_current_by_chance() {
    let traced_spans = Traced::begin();
    let mut rig = Rig::new().await;
    let chance = tracing::info_span!("chance").entered();
    call(rig.layer(), asking(&rig.receiver.url("/"))).await;
    rig.receiver.next().await;
    rig.expect_delivered().await;
    drop(chance);
    let attempt = traced_spans.attempt();
    assert_eq!(attempt.parent_span_id.to_string(), "0".repeat(16));
}
