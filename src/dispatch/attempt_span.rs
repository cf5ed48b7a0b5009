use tracing::{Span, field::Empty};

use crate::{delivery::Delivery, event::Outcome};

/// The span of one attempt.
///
/// Its fields are those of OpenTelemetry's conventions for HTTP clients, beside our own. `url.full` is
/// left out: only scheme, host and port of an endpoint are ever recorded.
pub(super) struct AttemptSpan(Span);

impl AttemptSpan {
    pub(super) fn new(delivery: &Delivery, attempt: u32) -> Self {
        let endpoint = delivery.endpoint();
        // The worker has run other attempts before: what it was started in is no parent of this one.
        Self(tracing::info_span!(
            parent: None,
            "attempt",
            otel.kind = "client",
            id = %delivery.id(),
            request_id = delivery.request_id().as_str(),
            ?endpoint,
            attempt,
            http.request.method = "POST",
            server.address = endpoint.host(),
            server.port = endpoint.port(),
            http.response.status_code = Empty,
            error.type = Empty,
            otel.status_code = Empty,
        ))
    }

    pub(super) fn get(&self) -> &Span {
        &self.0
    }

    /// Records how the attempt ended.
    pub(super) fn end(self, outcome: Outcome) {
        let Self(span) = self;
        if span.is_disabled() {
            return;
        }
        let error = match &outcome {
            Outcome::Answered { status, .. } => {
                span.record("http.response.status_code", status.as_u16());
                (!status.is_success()).then_some(status.as_str())
            }
            Outcome::Failed(error) => Some(error.name()),
        };
        if let Some(error) = error {
            span.record("error.type", error);
            span.record("otel.status_code", "ERROR");
        }
    }
}
