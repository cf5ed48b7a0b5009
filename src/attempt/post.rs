use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request,
    header::{CONTENT_LENGTH, USER_AGENT},
};
use tokio::time::timeout;

use super::{Client, FarEnd};
use crate::{
    Brand, Delivery, EndpointPolicy, Payload,
    event::{AttemptError, Outcome},
    signature::sign,
    wire::{
        ATTEMPT, LOOP_MARK, OUR_USER_AGENT, REQUEST_ID, RESPONSE_STATUS, WEBHOOK_ID,
        WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP,
    },
};

/// Posts a delivery to its endpoint.
pub(crate) struct Post {
    client: Client,
    policy: EndpointPolicy,
    brand: Brand,
    standard_headers: bool,
    timeout: Duration,
}

impl Post {
    pub(crate) fn new(
        client: Client,
        policy: EndpointPolicy,
        brand: Brand,
        standard_headers: bool,
        timeout: Duration,
    ) -> Self {
        Self {
            client,
            policy,
            brand,
            standard_headers,
            timeout,
        }
    }

    fn request(&self, delivery: &Delivery, attempt: u32, now: SystemTime) -> Request<Payload> {
        let mut request = Request::new(delivery.payload().clone());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = delivery.endpoint().uri().clone();
        let headers = request.headers_mut();
        headers.reserve(16);
        headers.insert(&REQUEST_ID, delivery.id().header());
        headers.insert(CONTENT_LENGTH, delivery.payload().len().into());
        headers.insert(USER_AGENT, OUR_USER_AGENT);
        headers.insert(LOOP_MARK, HeaderValue::from_static("1"));
        headers.insert(ATTEMPT, attempt.into());
        headers.insert(RESPONSE_STATUS, delivery.status().as_u16().into());
        for (name, value) in delivery.headers() {
            headers.insert(name, value.clone());
        }
        self.sign(headers, delivery, now);
        request
    }

    fn sign(&self, headers: &mut HeaderMap, delivery: &Delivery, now: SystemTime) {
        let timestamp = unix_seconds(now);
        let mut insert = |name: &HeaderName, value| headers.insert(name.clone(), value);
        insert(self.brand.timestamp(), timestamp.into());
        if self.standard_headers {
            insert(&WEBHOOK_ID, delivery.id().header());
            insert(&WEBHOOK_TIMESTAMP, timestamp.into());
        }
        let Some(secret) = delivery.secret() else {
            return;
        };
        let payload = delivery.payload().segments();
        let mac = sign(secret, delivery.id().as_str(), timestamp, payload);
        insert(self.brand.signature(), mac.cerebrium());
        if self.standard_headers {
            insert(&WEBHOOK_SIGNATURE, mac.standard());
        }
    }
}

impl FarEnd for Post {
    async fn attempt(&self, delivery: &Delivery, attempt: u32) -> Outcome {
        if !self.policy.accepts(delivery.endpoint()) {
            return Outcome::Failed(AttemptError::Forbidden);
        }
        let request = self.request(delivery, attempt, SystemTime::now());
        match timeout(self.timeout, self.client.post(request)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => Outcome::Failed(error),
            Err(_elapsed) => Outcome::Failed(AttemptError::TimedOut),
        }
    }
}

/// A clock before 1970 reads as 1970.
fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
