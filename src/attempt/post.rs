use std::{
    pin::pin,
    sync::OnceLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header::CONTENT_TYPE};

use super::{
    AttemptStart, Client, FixedHeaders, Timer, deadline,
    headers::{Field, Headers, Kind},
    signatures::Signatures,
    values::Values,
};
use crate::{
    delivery::{
        Brand, Delivery, Payload, SigningKey, TraceParent,
        wire::{FAILURE, RESPONSE_STATUS, TRACEPARENT, WEBHOOK_SIGNATURE},
    },
    endpoint::EndpointPolicy,
    event::{AttemptError, Outcome},
    id::DeliveryId,
};

/// Posts a delivery to its endpoint.
pub(crate) struct Post {
    client: Client,
    policy: EndpointPolicy,
    headers: Headers,
    /// What is not shown to whoever looks at a delivery later.
    secret_headers: Vec<HeaderName>,
    standard_headers: bool,
    signing_keys: Vec<SigningKey>,
    timeout: Duration,
}

/// What a secret is shown as. How long it was says nothing.
const MASK: HeaderValue = HeaderValue::from_static("***");

impl Post {
    pub(crate) fn new(
        client: Client,
        policy: EndpointPolicy,
        brand: &Brand,
        standard_headers: bool,
        signing_keys: Vec<SigningKey>,
        fixed_headers: &FixedHeaders,
        timeout: Duration,
    ) -> Self {
        let keyed = !signing_keys.is_empty();
        // Keys sign the Standard Webhooks form.
        let standard_headers = standard_headers || keyed;
        let host = client.wants_host();
        let headers = Headers::new(brand, standard_headers, keyed, host, fixed_headers);
        let signatures = [brand.signature(), &WEBHOOK_SIGNATURE].into_iter().cloned();
        let of_operator = fixed_headers.iter().map(|(name, _)| name.clone());
        let secret_headers = signatures.chain(of_operator).collect();
        Self {
            client,
            policy,
            headers,
            secret_headers,
            standard_headers,
            signing_keys,
            timeout,
        }
    }

    /// What the client has open, where it says so.
    #[cfg(feature = "metrics")]
    pub(crate) fn in_use(&self) -> Option<crate::event::metrics::ClientUse> {
        self.client.in_use()
    }

    #[cfg(feature = "ed25519")]
    pub(crate) fn signing_keys(&self) -> &[SigningKey] {
        &self.signing_keys
    }

    /// `signatures` are made here unless they are there already.
    fn request(
        &self,
        delivery: &Delivery,
        begun: AttemptStart,
        signatures: Option<&Signatures>,
    ) -> Request<Payload> {
        let payload = delivery.payload();
        let headers = self.headers(delivery, payload.len(), begun, signatures);
        let (mut parts, payload) = Request::new(payload.clone()).into_parts();
        parts.method = Method::POST;
        parts.uri = self.client.target(delivery.endpoint());
        parts.headers = headers;
        Request::from_parts(parts, payload)
    }

    fn headers(
        &self,
        delivery: &Delivery,
        payload_len: usize,
        begun: AttemptStart,
        signatures: Option<&Signatures>,
    ) -> HeaderMap {
        let mut text = [0; DeliveryId::TEXT_LEN];
        let delivery_id = delivery.id().encode(&mut text).as_bytes();
        let request_id = delivery.request_id().as_bytes();
        let timestamp = unix_seconds(begun.at);
        let made;
        let signatures = match signatures {
            Some(signatures) => signatures,
            None => {
                let delivery_id = self.standard_headers.then_some(delivery_id);
                made = Signatures::new(delivery, &self.signing_keys, delivery_id, timestamp);
                &made
            }
        };
        let trace_len = begun.trace_parent.map_or(0, |_| TraceParent::TEXT_LEN);
        let ids_len = delivery_id.len() + request_id.len();
        let mut values = Values::new(ids_len + trace_len + signatures.more_len());
        let timestamp = values.number(timestamp);
        let mut response_headers = delivery.headers().iter();
        let content_type = response_headers.find(|(name, _)| *name == CONTENT_TYPE);
        let headers = self.headers.of(Kind {
            signed: signatures.branded.is_some(),
            typed: content_type.is_some(),
        });
        let mut headers = headers.with(|field| match field {
            Field::Host => Some(delivery.endpoint().host_header()),
            Field::RequestId => Some(values.ascii(request_id)),
            Field::DeliveryId => Some(values.ascii(delivery_id)),
            Field::ContentLength => Some(values.number(payload_len as u64)),
            Field::ContentType => content_type.map(|(_, value)| value.clone()),
            Field::Attempt => Some(attempt_header(begun.attempt)),
            Field::Status => Some(status_header(delivery.status().unwrap_or_default())),
            Field::Timestamp => Some(timestamp.clone()),
            Field::BrandedSignature => {
                let branded = signatures.branded;
                branded.map(|mac| values.ascii(&mac.cerebrium()))
            }
            Field::StandardSignature => Some(signatures.standard(&mut values)),
            Field::Fixed(value) => Some(value.clone()),
            // It is in the copy.
            Field::OfOperator => None,
        });
        for (at, (name, value)) in delivery.headers().iter().enumerate() {
            let mut before = delivery.headers()[..at].iter();
            if before.any(|(before, _)| before == name) {
                headers.append(name, value.clone());
            } else if name != CONTENT_TYPE {
                headers.insert(name, value.clone());
            }
        }
        if let Some(reason) = delivery.failure() {
            headers.insert(FAILURE.clone(), HeaderValue::from_static(reason.name()));
        }
        if let Some(parent) = begun.trace_parent {
            let mut text = [0; TraceParent::TEXT_LEN];
            headers.insert(TRACEPARENT.clone(), values.ascii(parent.encode(&mut text)));
        }
        if delivery.status().is_none() {
            headers.remove(RESPONSE_STATUS);
        }
        headers
    }

    /// What an attempt was sent with whose payload may be gone, without secrets.
    pub(crate) fn masked_headers(
        &self,
        delivery: &Delivery,
        payload_len: usize,
        begun: AttemptStart,
    ) -> HeaderMap {
        // It is signed without its payload, and these signatures go nowhere.
        let mut headers = self.headers(&delivery.without_payload(), payload_len, begun, None);
        for (name, value) in &mut headers {
            if self.secret_headers.contains(name) {
                *value = MASK;
            }
        }
        headers
    }
}

/// Most deliveries need one attempt, so its number is a constant.
fn attempt_header(attempt: u32) -> HeaderValue {
    match attempt {
        1 => HeaderValue::from_static("1"),
        _ => attempt.into(),
    }
}

/// Most responses have status 200, so it is a constant.
fn status_header(status: StatusCode) -> HeaderValue {
    match status {
        StatusCode::OK => HeaderValue::from_static("200"),
        _ => status.as_u16().into(),
    }
}

impl Post {
    /// The timer belongs to the worker, which reuses it for one attempt after another.
    pub(crate) async fn attempt(
        &self,
        delivery: &Delivery,
        begun: AttemptStart,
        timer: &mut Timer,
    ) -> Outcome {
        let endpoint = delivery.endpoint();
        if !self.policy.accepts(endpoint) {
            return Outcome::Failed(AttemptError::Forbidden);
        }
        let answered = OnceLock::new();
        let deadline = deadline(begun.started, self.timeout);
        let signatures = match Signatures::take_long(delivery, &self.signing_keys) {
            // Before anything is connected to: the time that it takes says nothing about the endpoint.
            true => {
                let signing = Box::pin(self.sign(delivery, begun));
                match timer.within(deadline, signing).await {
                    Some(signatures) => Some(signatures),
                    None => return Outcome::Failed(AttemptError::TimedOut),
                }
            }
            false => None,
        };
        // In one expression: a future that is bound to a variable first takes its size twice.
        let posting = pin!(self.client.post(
            endpoint,
            || self.request(delivery, begun, signatures.as_ref()),
            &answered
        ));
        match timer.within(deadline, posting).await {
            Some(Ok(answer)) => answer,
            Some(Err(error)) => Outcome::Failed(error),
            None => answered
                .get()
                .copied()
                .unwrap_or(Outcome::Failed(AttemptError::TimedOut)),
        }
    }

    async fn sign(&self, delivery: &Delivery, begun: AttemptStart) -> Signatures {
        let mut text = [0; DeliveryId::TEXT_LEN];
        let delivery_id = delivery.id().encode(&mut text).as_bytes();
        let delivery_id = self.standard_headers.then_some(delivery_id);
        let timestamp = unix_seconds(begun.at);
        Signatures::patiently(delivery, &self.signing_keys, delivery_id, timestamp).await
    }
}

/// A clock before 1970 counts as 1970.
fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
