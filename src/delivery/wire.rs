//! Names that go over the wire.

use http::{
    HeaderName, HeaderValue,
    header::{CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE},
};

pub(crate) static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(crate) const ATTEMPT: HeaderName = HeaderName::from_static("x-webhook-attempt");
pub(crate) const RESPONSE_STATUS: HeaderName = HeaderName::from_static("x-webhook-response-status");
/// On a failure notice alone.
pub(crate) static FAILURE: HeaderName = HeaderName::from_static("x-webhook-failure");
/// On every delivery. A request with it that asks for a webhook would make a loop.
pub(crate) static LOOP_MARK: HeaderName = HeaderName::from_static("x-webhook-loop");

/// The only part of a trace's context that is read or sent: never `tracestate`, never `baggage`.
pub(crate) static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

pub(crate) static WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
pub(crate) static WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
pub(crate) static WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

pub(crate) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(crate) const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// What of a response's head travels with its delivery.
pub(crate) static FORWARDED: [HeaderName; 5] = [
    CONTENT_TYPE,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    // Of a trailers-only response.
    GRPC_STATUS,
    GRPC_MESSAGE,
];

pub(crate) const USER_AGENT_PREFIX: &str = "tower-webhook/";
pub(crate) const OUR_USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("tower-webhook/", env!("CARGO_PKG_VERSION")));
