//! What a delivery says, beside its payload.

use http::{HeaderName, HeaderValue};

use super::DispatcherBuilder;
#[cfg(feature = "ed25519")]
use crate::delivery::SigningKey;
use crate::{
    attempt::ReservedHeader,
    delivery::Brand,
    dispatch::propagator::{Propagation, TracePropagator},
};

impl DispatcherBuilder {
    /// The brand in the names of the signature's headers. Default: `Cerebrium`, for
    /// `X-Cerebrium-Webhook-Signature`.
    pub fn with_brand(mut self, brand: Brand) -> Self {
        self.brand = brand;
        self
    }

    /// Leaves out `webhook-id`, `webhook-timestamp` and `webhook-signature`, the headers of the
    /// Standard Webhooks specification. Default: they are sent. With a key of the service's own
    /// (`with_signing_key`) they are sent all the same, since it signs this form alone.
    pub fn without_standard_headers(mut self) -> Self {
        self.standard_headers = false;
        self
    }

    /// Signs every delivery with this key of the service's own, too, failure notices among them.
    /// Default: the caller's secret alone signs, where there is one.
    ///
    /// `webhook-signature` then has `v1a,` and the base64 of an Ed25519 signature over the same text that
    /// a secret signs, `{webhook-id}.{timestamp}.{body}`: after a space where there is a secret's
    /// signature, and alone where there is none. Receivers verify it with the
    /// [public key](SigningKey::public_key), which [`keys`](crate::keys()) publishes;
    /// [`Verifier::from_public_key`](crate::Verifier::from_public_key) does it.
    ///
    /// Called again, it adds a key: each of them signs. To change the key, add the new one beside the old
    /// one, and leave the old one out once receivers know the new one: those that read
    /// [`keys`](crate::keys()) do after an hour. Every key costs a receiver that tries them all some time,
    /// so let there be two at most.
    ///
    /// ```
    /// use tower_webhook::{Dispatcher, delivery::SigningKey};
    ///
    /// # let (new, old) = ([7; 32], [3; 32]);
    /// let dispatcher = Dispatcher::builder()
    ///     .with_signing_key(SigningKey::from_bytes(new))
    ///     .with_signing_key(SigningKey::from_bytes(old))
    ///     .build();
    /// assert_eq!(dispatcher.public_keys().len(), 2);
    /// ```
    #[cfg(feature = "ed25519")]
    pub fn with_signing_key(mut self, key: SigningKey) -> Self {
        let is_this = |known: &SigningKey| known.public_key() == key.public_key();
        if !self.signing_keys.iter().any(is_this) {
            self.signing_keys.push(key);
        }
        self
    }

    /// Adds a header to every delivery, beside those that it has anyway. Default: none. A name that is
    /// given again is sent again.
    ///
    /// Callers name the endpoint, so whatever is in it is told to anybody who can make a call: it is no
    /// place for a credential, unless the [endpoint policy](Self::with_endpoint_policy) lets through
    /// nothing but hosts that may know it. A value that is
    /// [marked as sensitive](HeaderValue::set_sensitive) remains so, and is in no `Debug` output. What
    /// goes to a [sink](Self::with_sink) has no headers yet.
    ///
    /// ```
    /// use http::{HeaderName, HeaderValue};
    /// use tower_webhook::Dispatcher;
    ///
    /// let region = HeaderName::from_static("x-acme-region");
    /// let dispatcher = Dispatcher::builder()
    ///     .with_header(region, HeaderValue::from_static("eu-1"))?
    ///     .build();
    ///
    /// let length = Dispatcher::builder()
    ///     .with_header(http::header::CONTENT_LENGTH, HeaderValue::from_static("7"));
    /// assert!(length.is_err());
    /// # Ok::<(), tower_webhook::attempt::ReservedHeader>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ReservedHeader`] for a name
    /// - that deliveries have or may have of themselves: `X-Request-Id`, `X-Webhook-Attempt`,
    ///   `X-Webhook-Response-Status`, `X-Webhook-Failure`, `X-Webhook-Loop`, `webhook-id`,
    ///   `webhook-timestamp`, `webhook-signature`, the timestamp and signature of any [`Brand`],
    ///   `User-Agent`, `Content-Type`, `Content-Encoding`, `Content-Language`, `grpc-status` and
    ///   `grpc-message`;
    /// - that is about the message or its connection: `Host`, `Content-Length`, `Transfer-Encoding`,
    ///   `TE`, `Trailer`, `Connection`, `Keep-Alive`, `Proxy-Connection`, `Proxy-Authenticate`,
    ///   `Proxy-Authorization`, `Upgrade`, `HTTP2-Settings`, `Expect` and `Accept-Encoding`;
    /// - of trace context: `traceparent`, `tracestate` and `baggage`.
    pub fn with_header(
        mut self,
        name: HeaderName,
        value: HeaderValue,
    ) -> Result<Self, ReservedHeader> {
        self.fixed_headers.add(name, value)?;
        Ok(self)
    }

    /// Puts attempts into the traces that the process records. Default: every attempt sends the
    /// `traceparent` of the call as the caller sent it, where there is a valid one; see
    /// [`TracePropagator`].
    ///
    /// Each attempt is a `tracing` span of its own, with or without this: `attempt`, at level `INFO`.
    /// It has no parent, and the fields `otel.kind` (`client`), `id`, `request_id`, `endpoint`,
    /// `attempt`, `http.request.method`, `server.address` and `server.port`. When the attempt has ended
    /// it has `http.response.status_code` where there was an answer, and where it has failed
    /// `error.type` (the status, or the [error's name](crate::event::AttemptError::name)) and
    /// `otel.status_code` (`ERROR`).
    pub fn with_trace_propagator(mut self, propagator: impl TracePropagator) -> Self {
        self.propagation = Propagation::new(propagator);
        self
    }
}
