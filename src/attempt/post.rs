use std::{
    pin::pin,
    sync::OnceLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{HeaderValue, Method, Request, StatusCode, header::CONTENT_TYPE};

use super::{
    Begun, Client, FarEnd, Timer, deadline,
    headers::{Field, Headers, Kind},
    values::Values,
};
use crate::{
    Brand, Delivery, EndpointPolicy, Payload,
    event::{AttemptError, Outcome},
    signature::sign,
};

/// Posts a delivery to its endpoint.
pub(crate) struct Post {
    client: Client,
    policy: EndpointPolicy,
    headers: Headers,
    timeout: Duration,
}

impl Post {
    pub(crate) fn new(
        client: Client,
        policy: EndpointPolicy,
        brand: &Brand,
        standard_headers: bool,
        timeout: Duration,
    ) -> Self {
        let headers = Headers::new(brand, standard_headers, client.wants_host());
        Self {
            client,
            policy,
            headers,
            timeout,
        }
    }

    fn request(&self, delivery: &Delivery, begun: Begun) -> Request<Payload> {
        let id = delivery.id();
        let timestamp = unix_seconds(begun.at);
        let sign = |secret| {
            let payload = delivery.payload().segments();
            sign(secret, id.as_bytes(), timestamp, payload)
        };
        let mac = delivery.secret().map(sign);
        let mut values = Values::new(id.as_bytes().len());
        let timestamp = values.number(timestamp);
        let id = values.ascii(id.as_bytes());
        let mut response_headers = delivery.headers().iter();
        let content_type = response_headers.find(|(name, _)| *name == CONTENT_TYPE);
        let headers = self.headers.of(Kind {
            signed: mac.is_some(),
            typed: content_type.is_some(),
        });
        let mut headers = headers.with(|field| match field {
            Field::Host => Some(delivery.endpoint().host_header()),
            Field::Id => Some(id.clone()),
            Field::ContentLength => Some(values.number(delivery.payload().len() as u64)),
            Field::ContentType => content_type.map(|(_, value)| value.clone()),
            Field::Attempt => Some(attempt_header(begun.attempt)),
            Field::Status => Some(status_header(delivery.status())),
            Field::Timestamp => Some(timestamp.clone()),
            Field::BrandedSignature => mac.as_ref().map(|mac| values.ascii(&mac.cerebrium())),
            Field::StandardSignature => mac.as_ref().map(|mac| values.ascii(&mac.standard())),
            Field::Fixed(value) => Some(value.clone()),
        });
        for (at, (name, value)) in delivery.headers().iter().enumerate() {
            let mut before = delivery.headers()[..at].iter();
            if before.any(|(before, _)| before == name) {
                headers.append(name, value.clone());
            } else if name != CONTENT_TYPE {
                headers.insert(name, value.clone());
            }
        }
        let mut request = Request::new(delivery.payload().clone());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.client.target(delivery.endpoint());
        *request.headers_mut() = headers;
        request
    }
}

/// Most deliveries need one attempt.
fn attempt_header(attempt: u32) -> HeaderValue {
    match attempt {
        1 => HeaderValue::from_static("1"),
        _ => attempt.into(),
    }
}

/// Most responses are a 200.
fn status_header(status: StatusCode) -> HeaderValue {
    match status {
        StatusCode::OK => HeaderValue::from_static("200"),
        _ => status.as_u16().into(),
    }
}

impl FarEnd for Post {
    async fn attempt(&self, delivery: &Delivery, begun: Begun, timer: &mut Timer) -> Outcome {
        let endpoint = delivery.endpoint();
        if !self.policy.accepts(endpoint) {
            return Outcome::Failed(AttemptError::Forbidden);
        }
        let answered = OnceLock::new();
        let deadline = deadline(begun.started, self.timeout);
        // In one expression: what is bound to a name first takes its size twice.
        let posting = pin!(
            self.client
                .post(endpoint, || self.request(delivery, begun), &answered)
        );
        match timer.within(deadline, posting).await {
            Some(Ok(answer)) => answer,
            Some(Err(error)) => Outcome::Failed(error),
            None => answered
                .get()
                .copied()
                .unwrap_or(Outcome::Failed(AttemptError::TimedOut)),
        }
    }
}

/// A clock before 1970 reads as 1970.
fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
