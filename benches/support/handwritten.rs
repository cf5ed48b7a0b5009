//! The hand-written peer: what a service does today that has no such layer.
//!
//! An axum middleware collects the response, a spawned task signs and posts it, a semaphore
//! bounds how many do so at once, and three attempts are made. It has no endpoint policy, no
//! bound on what waits, no streaming, and nothing when the process ends.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use reqwest::{Client, Url};
use sha2::Sha256;
use tokio::{sync::Semaphore, time::sleep};
use uuid::Uuid;

const BODY_LIMIT: usize = 4 << 20;
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_secs(3);

/// What every request shares.
#[derive(Clone)]
pub(crate) struct Webhooks {
    shared: Arc<Shared>,
}

struct Shared {
    /// `None` discards deliveries.
    client: Option<Client>,
    turns: Semaphore,
    done: Box<dyn Fn(bool) + Send + Sync>,
}

struct Delivery {
    id: String,
    endpoint: Url,
    secret: Option<HeaderValue>,
    headers: HeaderMap,
    body: Bytes,
}

impl Webhooks {
    /// `done` is told of each delivery whether it got there.
    pub(crate) fn new(
        client: Option<Client>,
        at_once: usize,
        done: impl Fn(bool) + Send + Sync + 'static,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                client,
                turns: Semaphore::new(at_once),
                done: Box::new(done),
            }),
        }
    }
}

/// The middleware, for [`axum::middleware::from_fn_with_state`].
pub(crate) async fn webhook(
    State(Webhooks { shared }): State<Webhooks>,
    request: Request,
    next: Next,
) -> Response {
    let Some(endpoint) = endpoint(&request) else {
        return next.run(request).await;
    };
    let Ok(endpoint) = Url::parse(&endpoint) else {
        return (StatusCode::BAD_REQUEST, "webhookEndpoint is not a URL").into_response();
    };
    let secret = request.headers().get("x-webhook-secret").cloned();
    let id = request.headers().get("x-request-id");
    let id = match id.and_then(|id| id.to_str().ok()) {
        Some(id) => id.to_owned(),
        None => Uuid::now_v7().to_string(),
    };
    let (parts, body) = next.run(request).await.into_parts();
    let Ok(body) = to_bytes(body, BODY_LIMIT).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let mut headers = HeaderMap::new();
    headers.insert("x-webhook-response-status", parts.status.as_u16().into());
    for name in [CONTENT_TYPE, CONTENT_ENCODING] {
        if let Some(value) = parts.headers.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    let delivery = Delivery {
        id,
        endpoint,
        secret,
        headers,
        body: body.clone(),
    };
    if shared.client.is_some() {
        tokio::spawn(async move {
            let delivered = shared.deliver(delivery).await;
            (shared.done)(delivered);
        });
    }
    Response::from_parts(parts, Body::from(body))
}

fn endpoint(request: &Request) -> Option<String> {
    let query = request.uri().query()?;
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    let (_, endpoint) = pairs.find(|(name, _)| name == "webhookEndpoint")?;
    Some(endpoint.into_owned())
}

impl Shared {
    async fn deliver(&self, delivery: Delivery) -> bool {
        for attempt in 1..=ATTEMPTS {
            if attempt > 1 {
                sleep(PAUSE).await;
            }
            let _turn = self.turns.acquire().await;
            match self.attempt(&delivery, attempt).await {
                Ok(status) if status.is_success() => return true,
                Ok(status) if status.is_client_error() => return false,
                _ => {}
            }
        }
        tracing::error!(id = delivery.id, "the webhook was not delivered");
        false
    }

    async fn attempt(&self, delivery: &Delivery, attempt: u32) -> reqwest::Result<StatusCode> {
        let Some(client) = &self.client else {
            return Ok(StatusCode::OK);
        };
        let mut headers = delivery.headers.clone();
        headers.insert("x-webhook-attempt", attempt.into());
        sign(&mut headers, delivery);
        let answer = client
            .post(delivery.endpoint.clone())
            .headers(headers)
            .body(delivery.body.clone())
            .send()
            .await?;
        let status = answer.status();
        answer.bytes().await?;
        Ok(status)
    }
}

fn sign(headers: &mut HeaderMap, delivery: &Delivery) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let timestamp = now.map_or(0, |now| now.as_secs()).to_string();
    let mut insert = |name: &'static str, text: &str| {
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    insert("x-request-id", &delivery.id);
    insert("x-cerebrium-webhook-timestamp", &timestamp);
    insert("webhook-id", &delivery.id);
    insert("webhook-timestamp", &timestamp);
    let Some(secret) = &delivery.secret else {
        return;
    };
    let mut hmac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length will do");
    hmac.update(format!("{}.{timestamp}.", delivery.id).as_bytes());
    hmac.update(&delivery.body);
    let mac = hmac.finalize().into_bytes();
    let hex = format!("v1,{}", hex::encode(mac));
    insert("x-cerebrium-webhook-signature", &hex);
    insert("webhook-signature", &format!("v1,{}", BASE64.encode(mac)));
}
