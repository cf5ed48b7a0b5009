use std::panic::{AssertUnwindSafe, catch_unwind};

use tracing::Span;

use crate::delivery::TraceParent;

/// Puts attempts into the traces that the process records, and says which `traceparent` they send.
///
/// Without one the endpoint gets the `traceparent` of the call as the caller sent it, where that is
/// valid. This is one for `tracing-opentelemetry`, with which each attempt is a client span in the trace
/// of its call, and the parent of what the receiver does:
///
/// ```
#[doc = include_str!("../../examples/opentelemetry/propagator.rs")]
/// # let dispatcher = tower_webhook::Dispatcher::builder()
/// #     .with_trace_propagator(OpenTelemetry)
/// #     .build();
/// ```
///
/// Neither method may block. Where one panics, that is logged, and what it was given is sent.
pub trait TracePropagator: Send + Sync + 'static {
    /// The place in a trace that a call's attempts belong to. `sent` is the call's `traceparent`, where
    /// there is a valid one. Default: that.
    ///
    /// It is called once for each webhook that is accepted, in the span that is current around the
    /// [layer](crate::layer::WebhookLayer); and for a [delivery without a
    /// call](super::Dispatcher::deliver) that has no `traceparent`. What it gives is kept with the
    /// delivery, in a durable outbox, too.
    fn of_call(&self, sent: Option<TraceParent>) -> Option<TraceParent> {
        sent
    }

    /// The `traceparent` that an attempt sends; `None` for none. `call` is what
    /// [`of_call`](Self::of_call) gave, perhaps in an earlier process.
    ///
    /// `span` is that of the attempt, which nobody has entered yet: its parent can still be set. It is
    /// [disabled](Span::is_disabled) where nobody records it.
    fn of_attempt(&self, span: &Span, call: Option<TraceParent>) -> Option<TraceParent>;
}

/// The propagator, where there is one.
#[derive(Default)]
pub(super) struct Propagation(Option<Box<dyn TracePropagator>>);

impl Propagation {
    pub(super) fn new(propagator: impl TracePropagator) -> Self {
        Self(Some(Box::new(propagator)))
    }

    pub(super) fn of_call(&self, sent: Option<TraceParent>) -> Option<TraceParent> {
        self.ask(sent, |propagator| propagator.of_call(sent))
    }

    pub(super) fn of_attempt(&self, span: &Span, call: Option<TraceParent>) -> Option<TraceParent> {
        self.ask(call, |propagator| propagator.of_attempt(span, call))
    }

    fn ask(
        &self,
        given: Option<TraceParent>,
        ask: impl FnOnce(&dyn TracePropagator) -> Option<TraceParent>,
    ) -> Option<TraceParent> {
        let Some(propagator) = &self.0 else {
            return given;
        };
        let asked = catch_unwind(AssertUnwindSafe(|| ask(&**propagator)));
        asked.unwrap_or_else(|_| {
            tracing::error!("the trace propagator panicked");
            given
        })
    }
}
