use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use tower_webhook::{delivery::TraceParent, dispatch::TracePropagator};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

pub(crate) struct OpenTelemetry;

impl TracePropagator for OpenTelemetry {
    /// The span around the layer, or else what the caller sent.
    fn of_call(&self, sent: Option<TraceParent>) -> Option<TraceParent> {
        place_of(&Span::current()).or(sent)
    }

    fn of_attempt(&self, span: &Span, call: Option<TraceParent>) -> Option<TraceParent> {
        if let Some(call) = call {
            // An error where nobody records the span.
            let _ = span.set_parent(context_of(call));
        }
        place_of(span).or(call)
    }
}

/// `None` where OpenTelemetry does not know the span.
fn place_of(span: &Span) -> Option<TraceParent> {
    let context = span.context();
    let span = context.span();
    let span = span.span_context();
    TraceParent::new(
        span.trace_id().to_bytes(),
        span.span_id().to_bytes(),
        span.trace_flags().to_u8(),
    )
}

pub(crate) fn context_of(parent: TraceParent) -> Context {
    Context::new().with_remote_span_context(SpanContext::new(
        TraceId::from_bytes(parent.trace_id()),
        SpanId::from_bytes(parent.parent_id()),
        TraceFlags::new(parent.flags()),
        true,
        TraceState::default(),
    ))
}
