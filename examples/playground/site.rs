//! What the browser loads: the page, its form's receivers, its journal, the API, and the console in a frame.

use std::{convert::Infallible, net::SocketAddr};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, X_CONTENT_TYPE_OPTIONS,
        },
    },
    middleware::{Next, from_fn, map_response},
    response::{IntoResponse, Response, Sse, sse::KeepAlive},
    routing::{get, post},
};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Value, json};
use tower_webhook::WebhookLayer;
use tower_webhook_console::Console;

use crate::{journal::Journal, manner::Manner, receiver::Receivers};

const HTML: &str = include_str!("page.html");
const CSS: &str = include_str!("page.css");
const SCRIPTS: [&str; 3] = [
    include_str!("base.js"),
    include_str!("calls.js"),
    include_str!("start.js"),
];

pub(crate) fn with(
    layer: WebhookLayer,
    console: Console,
    receivers: Receivers,
    journal: &Journal,
    address: SocketAddr,
) -> Router {
    let api = Router::new().route("/run", post(greet)).layer(layer);
    let console = Router::new()
        .nest_service("/console", console)
        .layer(map_response(may_be_framed));
    let tell = post(tell).with_state(receivers);
    let journal = get(follow).with_state(journal.clone());
    Router::new()
        .route("/", get(page))
        .route("/receivers", tell)
        .route("/journal", journal)
        .merge(api)
        .merge(console)
        .layer(from_fn(move |request: Request, next: Next| async move {
            match is_own(&request, address) {
                true => next.run(request).await,
                false => StatusCode::MISDIRECTED_REQUEST.into_response(),
            }
        }))
}

/// A name of another site that leads to this address is not this site.
fn is_own(request: &Request, address: SocketAddr) -> bool {
    let host = request.headers().get(HOST);
    let host = host.and_then(|host| host.to_str().ok());
    let own = [address.to_string(), format!("localhost:{}", address.port())];
    own.iter().any(|own| host == Some(own))
}

/// The API. It knows nothing of webhooks.
async fn greet(name: String) -> impl IntoResponse {
    let greeting = json!({ "greeting": format!("Hello, {name}!") });
    ([(X_CONTENT_TYPE_OPTIONS, "nosniff")], Json(greeting))
}

/// A receiver that does as the form says.
async fn tell(
    State(receivers): State<Receivers>,
    Json(manner): Json<Manner>,
) -> Result<Json<Value>, StatusCode> {
    let manner = manner.checked().ok_or(StatusCode::UNPROCESSABLE_ENTITY)?;
    Ok(Json(json!({ "endpoint": receivers.tell(manner) })))
}

async fn follow(State(journal): State<Journal>, headers: HeaderMap) -> impl IntoResponse {
    let seen = headers.get("last-event-id");
    let seen = seen.and_then(|id| id.to_str().ok()?.parse().ok());
    Sse::new(journal.after(seen)).keep_alive(KeepAlive::default())
}

/// Nothing but its own script and style runs, and only the console is framed.
async fn page() -> Result<Response, StatusCode> {
    let mut bytes = [0; 16];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let nonce = hex::encode(bytes);
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; \
         connect-src 'self'; frame-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    let html = HTML
        .replace("{{nonce}}", &nonce)
        .replace("{{css}}", CSS)
        .replace("{{js}}", &SCRIPTS.concat());
    let head = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, &policy),
    ];
    Ok((head, html).into_response())
}

/// The console lets nobody frame it. This page may, and nobody else.
async fn may_be_framed(mut response: Response) -> Result<Response, Infallible> {
    let headers = response.headers_mut();
    let policy = headers.get(CONTENT_SECURITY_POLICY);
    let policy = policy.and_then(|policy| policy.to_str().ok());
    let own = policy.map(|text| text.replace("frame-ancestors 'none'", "frame-ancestors 'self'"));
    if let Some(own) = own.and_then(|text| HeaderValue::try_from(text).ok()) {
        headers.insert(CONTENT_SECURITY_POLICY, own);
    }
    Ok(response)
}
