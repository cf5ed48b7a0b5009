use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
    },
};

use super::text;
use crate::{
    delivery::{
        Delivery, Payload,
        wire::{FAILURE, REQUEST_ID, RESPONSE_STATUS},
    },
    outbox::DeliveryRecord,
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Where a call stands.
pub(super) fn state(record: &DeliveryRecord) -> Response<Payload> {
    let text = Bytes::from(text::of(record));
    let mut response = of(StatusCode::OK, text.into());
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// It has no result, as it runs.
pub(super) fn not_yet(record: &DeliveryRecord) -> Response<Payload> {
    let mut response = state(record);
    *response.status_mut() = StatusCode::ACCEPTED;
    let second = HeaderValue::from_static("1");
    response.headers_mut().insert(RETRY_AFTER, second);
    response
}

/// What its endpoint gets.
pub(super) fn result(delivery: &Delivery) -> Response<Payload> {
    let mut response = of(StatusCode::OK, delivery.payload().clone());
    let headers = response.headers_mut();
    for (name, value) in delivery.headers() {
        headers.append(name, value.clone());
    }
    let mut add = |name: &HeaderName, value: &str| {
        let value = HeaderValue::from_str(value).expect("names, numbers and ids are visible ASCII");
        headers.insert(name, value);
    };
    add(&REQUEST_ID, delivery.request_id().as_str());
    if let Some(status) = delivery.status() {
        add(&RESPONSE_STATUS, status.as_str());
    }
    if let Some(failure) = delivery.failure() {
        add(&FAILURE, failure.name());
    }
    response
}

pub(super) fn not_kept() -> Response<Payload> {
    problem(
        StatusCode::NOT_FOUND,
        r#"{"type":"about:blank","title":"Not Found","status":404,"detail":"the result is not kept"}"#,
    )
}

/// The same for what nobody knows and for what this caller may not see.
pub(super) fn not_found() -> Response<Payload> {
    problem(
        StatusCode::NOT_FOUND,
        r#"{"type":"about:blank","title":"Not Found","status":404,"detail":"no such call, or not yours"}"#,
    )
}

pub(super) fn unavailable() -> Response<Payload> {
    let mut response = problem(
        StatusCode::SERVICE_UNAVAILABLE,
        r#"{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"calls cannot be looked up, try again later"}"#,
    );
    let second = HeaderValue::from_static("1");
    response.headers_mut().insert(RETRY_AFTER, second);
    response
}

/// What a `HEAD` gets in place of it.
pub(super) fn of_head(response: Response<Payload>) -> Response<Payload> {
    let (mut head, body) = response.into_parts();
    head.headers.insert(CONTENT_LENGTH, body.len().into());
    Response::from_parts(head, Payload::default())
}

pub(super) fn wrong_method() -> Response<Payload> {
    let mut response = problem(
        StatusCode::METHOD_NOT_ALLOWED,
        r#"{"type":"about:blank","title":"Method Not Allowed","status":405}"#,
    );
    let methods = HeaderValue::from_static("GET, HEAD");
    response.headers_mut().insert(ALLOW, methods);
    response
}

fn problem(status: StatusCode, text: &'static str) -> Response<Payload> {
    let mut response = of(status, text.into());
    response.headers_mut().insert(CONTENT_TYPE, PROBLEM);
    response
}

fn of(status: StatusCode, payload: Payload) -> Response<Payload> {
    let mut response = Response::new(payload);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}
