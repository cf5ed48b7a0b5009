//! Requests that must not reach the handler, or not again.

use std::sync::atomic::Ordering;

use axum::extract::Request;
use http::{Method, StatusCode};
use tokio::net::TcpListener;
use tower::{Layer, ServiceExt};
use tower_webhook::{
    EventKind, WebhookLayer,
    event::{Outcome, Refusal},
};

use crate::{
    call, counting, encoded,
    hostile::{Api, never},
};

#[tokio::test]
async fn an_api_that_is_its_own_endpoint_is_called_back_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (service, calls) = counting();
    let mut api = Api::new();
    let layer = WebhookLayer::new().with_dispatcher(api.dispatcher.clone());
    let server = tokio::spawn({
        let service = service.clone().layer(layer.clone());
        async move { axum::serve(listener, service).await }
    });

    let last = encoded("http://api.example.com/");
    let own = format!("http://api.example.com:{port}/run?webhookEndpoint={last}");
    let query = format!("webhookEndpoint={}", encoded(&own));
    let response = call(&layer, &service, &query, &[]).await;
    assert_eq!(response.status(), 200);
    let looped = Outcome::answered(StatusCode::LOOP_DETECTED, None);
    let mut refused = 0;
    let end = loop {
        match api.event().await {
            EventKind::Refused(refusal) => {
                assert_eq!(refusal, Refusal::Loop);
                refused += 1;
            }
            EventKind::Dead { attempts, last } => break (attempts, last),
            _ => {}
        }
    };
    assert_eq!(end, (1, looped));
    assert_eq!((refused, calls.load(Ordering::SeqCst)), (1, 1));
    server.abort();
}

#[tokio::test]
async fn a_required_secret_keeps_browsers_out() {
    let (service, calls) = counting();
    let api = Api::resolving(never);
    let layer = WebhookLayer::new()
        .with_dispatcher(api.dispatcher.clone())
        .with_required_secret();
    let query = "webhookEndpoint=https%3A%2F%2Freceiver.example.com%2F";
    let response = call(&layer, &service, query, &[]).await;
    assert_eq!(
        (response.status(), calls.load(Ordering::SeqCst)),
        (StatusCode::BAD_REQUEST, 0)
    );
    let response = call(&layer, &service, query, &[("x-webhook-secret", "s")]).await;
    assert_eq!(
        (response.status(), calls.load(Ordering::SeqCst)),
        (StatusCode::OK, 1)
    );
    let response = call(&layer, &service, "", &[]).await;
    assert_eq!(
        (response.status(), calls.load(Ordering::SeqCst)),
        (StatusCode::OK, 2)
    );
}

#[tokio::test]
async fn every_method_is_judged() {
    let (service, _) = counting();
    let layer = WebhookLayer::new();
    for method in [Method::HEAD, Method::OPTIONS, Method::DELETE] {
        let request = Request::builder()
            .method(&method)
            .uri("/run?webhookEndpoint=http%3A%2F%2F127.0.0.1%2F")
            .body(axum::body::Body::empty())
            .unwrap();
        let response = layer.layer(service.clone()).oneshot(request).await.unwrap();
        assert_eq!(response.status(), 400, "{method}");
    }
}
