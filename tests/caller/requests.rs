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

#[tokio::test]
async fn the_handler_need_not_see_what_asks_for_a_webhook() {
    let seen = |request: Request| async move {
        let headers = request.headers();
        let has = |name: &str| headers.contains_key(name);
        format!(
            "{} {} {}",
            request.uri(),
            has("x-webhook-secret"),
            has("x-webhook-endpoint")
        )
    };
    let service = axum::Router::new().fallback(axum::routing::any(seen));
    let api = Api::resolving(never);
    let shown = WebhookLayer::new()
        .with_dispatcher(api.dispatcher.clone())
        .with_endpoint_header(http::HeaderName::from_static("x-webhook-endpoint"))
        .with_async_requests();
    let hidden = shown.clone().with_hidden_request();
    let endpoint = "https%3A%2F%2Freceiver.example.com%2F";
    let query = format!("a=%20+&webhookEndpoint={endpoint}&b&async=false");
    let secret = [("x-webhook-secret", "s")];
    let seen = call(&hidden, &service, &query, &secret).await;
    assert_eq!(seen.body(), "/run?a=%20+&b false false");
    let seen = call(&shown, &service, &query, &secret).await;
    assert_eq!(seen.body(), &format!("/run?{query} true false"));
    let only = format!("webhookEndpoint={endpoint}");
    let seen = call(&hidden, &service, &only, &secret).await;
    assert_eq!(seen.body(), "/run false false");
    let in_header = [("x-webhook-endpoint", "https://receiver.example.com/")];
    let seen = call(&hidden, &service, "a=1", &in_header).await;
    assert_eq!(seen.body(), "/run?a=1 false false");
    // Whoever asks for none has nothing taken away.
    let seen = call(&hidden, &service, "async=1", &secret).await;
    assert_eq!(seen.body(), "/run?async=1 true false");
}

#[tokio::test]
async fn a_response_shows_the_id_where_it_has_none() {
    let api = Api::resolving(never);
    let layer = WebhookLayer::new().with_dispatcher(api.dispatcher.clone());
    let query = "webhookEndpoint=https%3A%2F%2Freceiver.example.com%2F";
    let (service, _) = counting();
    let own = axum::Router::new().fallback(|| async { ([("x-request-id", "own")], "done") });
    let id = [("x-request-id", "run-1")];
    let shows = layer.clone().with_response_id();
    let header = |response: &http::Response<bytes::Bytes>| {
        let id = response.headers().get("x-request-id");
        id.map(|id| id.to_str().unwrap().to_owned())
    };
    let response = call(&shows, &service, query, &id).await;
    assert_eq!(header(&response).as_deref(), Some("run-1"));
    let response = call(&shows, &service, query, &[]).await;
    let fresh = header(&response).unwrap();
    assert!(
        tower_webhook::DeliveryId::parse(&fresh).is_some(),
        "{fresh}"
    );
    let response = call(&shows, &own, query, &id).await;
    assert_eq!(header(&response).as_deref(), Some("own"));
    let response = call(&shows, &service, "", &id).await;
    assert_eq!(header(&response), None, "there is no webhook");
    let response = call(&layer, &service, query, &id).await;
    assert_eq!(header(&response), None, "it is not turned on");
}

/// It would end at its first `&`, and half of it would be called.
#[tokio::test]
async fn an_endpoint_with_a_query_must_be_encoded() {
    let (service, calls) = counting();
    let api = Api::resolving(never);
    let layer = WebhookLayer::new().with_dispatcher(api.dispatcher.clone());
    for (query, status) in [
        ("webhookEndpoint=https://a.example.com/hook?x=1&y=2", 400),
        ("webhookEndpoint=https%3A//a.example.com/?x=1&", 400),
        ("webhookEndpoint=https://a.example.com/hook?x=1", 200),
        ("y=2&webhookEndpoint=https://a.example.com/hook?x=1", 200),
        (
            "webhookEndpoint=https://a.example.com/hook%3Fx=1%26y=2&z=3",
            200,
        ),
        ("webhookEndpoint=https://a.example.com/hook&y=2?", 200),
    ] {
        let response = call(&layer, &service, query, &[]).await;
        assert_eq!(response.status(), status, "{query}");
        if status == 400 {
            let said = str::from_utf8(response.body()).unwrap();
            assert!(said.contains("not percent-encoded"), "{said}");
        }
    }
    assert_eq!(calls.load(Ordering::SeqCst), 4);
}
