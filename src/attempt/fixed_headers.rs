use std::fmt;

use http::{
    HeaderName, HeaderValue,
    header::{
        ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, USER_AGENT,
    },
};

use crate::delivery::wire::{
    ATTEMPT, FAILURE, FORWARDED, LOOP_MARK, REQUEST_ID, RESPONSE_STATUS, TRACEPARENT, WEBHOOK_ID,
    WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP,
};

/// What the operator has every delivery carry. The same name may be there again.
#[derive(Default)]
pub(crate) struct FixedHeaders(Vec<(HeaderName, HeaderValue)>);

impl FixedHeaders {
    pub(crate) fn add(
        &mut self,
        name: HeaderName,
        value: HeaderValue,
    ) -> Result<(), ReservedHeader> {
        if is_reserved(&name) {
            return Err(ReservedHeader { name });
        }
        self.0.push((name, value));
        Ok(())
    }

    #[cfg(feature = "openapi")]
    pub(crate) fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter().map(|(name, _)| name)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(HeaderName, HeaderValue)> {
        self.0.iter()
    }
}

/// Beside those that are statics themselves.
static RESERVED: [HeaderName; 19] = [
    ATTEMPT,
    RESPONSE_STATUS,
    HOST,
    CONTENT_LENGTH,
    USER_AGENT,
    // An answer is never decoded.
    ACCEPT_ENCODING,
    // Nobody waits for a `100 Continue`.
    EXPECT,
    // By these a proxy would strip the loop mark, or take the delivery for something else.
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("baggage"),
];

fn is_reserved(name: &HeaderName) -> bool {
    let ours = [
        &REQUEST_ID,
        &FAILURE,
        &LOOP_MARK,
        &TRACEPARENT,
        &WEBHOOK_ID,
        &WEBHOOK_TIMESTAMP,
        &WEBHOOK_SIGNATURE,
    ];
    ours.contains(&name)
        || RESERVED.contains(name)
        || FORWARDED.contains(name)
        || is_of_a_brand(name)
}

/// Of any brand: the builder may be given one later.
fn is_of_a_brand(name: &HeaderName) -> bool {
    let rest = name.as_str().strip_prefix("x-");
    let of_brand =
        |rest: &str| rest.ends_with("-webhook-timestamp") || rest.ends_with("-webhook-signature");
    rest.is_some_and(of_brand)
}

/// The header cannot be a [fixed one](crate::dispatch::DispatcherBuilder::with_header): deliveries set it
/// themselves, or it is about the connection or the trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservedHeader {
    name: HeaderName,
}

impl ReservedHeader {
    /// The header's name.
    #[must_use]
    pub fn name(&self) -> &HeaderName {
        &self.name
    }
}

impl fmt::Display for ReservedHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        write!(
            f,
            "`{name}` cannot be a fixed header of deliveries: it is reserved"
        )
    }
}

impl std::error::Error for ReservedHeader {}
