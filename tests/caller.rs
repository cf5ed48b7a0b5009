//! What a caller can learn, and what it can make the layer do.

#[path = "support/hostile.rs"]
mod hostile;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Router, extract::Request, routing::any};
use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, header::RETRY_AFTER};
use http_body_util::BodyExt;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::{net::TcpListener, sync::Notify};
use tower::{Layer, ServiceExt};
use tower_webhook::{EndpointPolicy, EventKind, Outcome, Refusal, WebhookLayer};

use self::hostile::{Api, Receiver, Stub, found, never, no_task_is_left, resume, within};

fn encoded(endpoint: &str) -> String {
    utf8_percent_encode(endpoint, NON_ALPHANUMERIC).to_string()
}

/// A service that counts its calls.
fn counting() -> (Router, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let handler = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        async { "done" }
    };
    (Router::new().fallback(any(handler)), calls)
}

async fn call(
    layer: &WebhookLayer,
    service: &Router,
    query: &str,
    headers: &[(&'static str, &'static str)],
) -> Response<Bytes> {
    let mut request = Request::get(format!("/run?{query}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(axum::body::Body::empty()).unwrap();
    let response = layer.layer(service.clone()).oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

/// Everything of a response that a caller sees.
fn seen(response: &Response<Bytes>) -> (StatusCode, HeaderMap, Bytes) {
    (
        response.status(),
        response.headers().clone(),
        response.body().clone(),
    )
}

#[tokio::test]
async fn the_response_says_nothing_about_the_endpoint() {
    let (service, _) = counting();
    let plain = call(&WebhookLayer::new(), &service, "", &[]).await;
    let taking = Receiver::answering("HTTP/1.1 204 No Content\r\n\r\n");
    let failing = Receiver::answering("HTTP/1.1 500 x\r\ncontent-length: 0\r\n\r\n");
    let resetting = Receiver::new(|conn| async move { conn.reset() });
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let endpoints = [
        taking.url(),
        failing.url(),
        resetting.url(),
        format!("http://receiver.example.com:{closed}/"),
        "http://private.example.com/".to_owned(),
        "http://unknown.example.com/".to_owned(),
    ];
    for endpoint in endpoints {
        resume();
        let mut api = Api::resolving(|name| match name {
            "receiver.example.com" => found(["127.0.0.1"]),
            "private.example.com" => found(["10.0.0.1"]),
            _ => found::<&str>([]),
        });
        let layer = WebhookLayer::new().with_dispatcher(api.dispatcher.clone());
        let query = format!("webhookEndpoint={}", encoded(&endpoint));
        // The first call's delivery is known to have ended before the second one is answered.
        let first = call(&layer, &service, &query, &[]).await;
        api.attempted().await;
        let second = call(&layer, &service, &query, &[]).await;
        assert_eq!(seen(&first), seen(&plain), "{endpoint}");
        assert_eq!(seen(&second), seen(&plain), "{endpoint}");
    }
}

#[tokio::test]
async fn the_response_does_not_wait_for_the_resolver() {
    let asked = Arc::new(Notify::new());
    let ask = Arc::clone(&asked);
    let api = Api::resolving(move |name| {
        ask.notify_one();
        never(name)
    });
    let response = api.call("https://receiver.example.com/", "done").await;
    assert_eq!(
        (response.status(), &response.body()[..]),
        (StatusCode::OK, &b"done"[..])
    );
    within(asked.notified()).await;
    // Also while the look-up is under way, which nothing but time can end.
    let response = api.call("https://receiver.example.com/", "done").await;
    assert_eq!(response.status(), 200);
    assert_eq!(api.dispatcher.outstanding(), 2);
}

#[tokio::test]
async fn the_response_does_not_wait_for_the_receiver() {
    let (go, waiting) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let going = Arc::clone(&go);
    let waits = Arc::clone(&waiting);
    let receiver = Receiver::new(move |mut conn| {
        let (going, waits) = (Arc::clone(&going), Arc::clone(&waits));
        async move {
            conn.request().await.unwrap();
            waits.notify_one();
            going.notified().await;
            conn.say("HTTP/1.1 204 No Content\r\n\r\n").await;
        }
    });
    let mut api = Api::new();
    let response = api.call(&receiver.url(), "done").await;
    assert_eq!(response.status(), 200);
    within(waiting.notified()).await;
    let response = api.call("https://other.example.com/", "done").await;
    assert_eq!(response.status(), 200);
    go.notify_one();
    loop {
        if let EventKind::Delivered { attempts } = api.event().await {
            assert_eq!(attempts, 1);
            break;
        }
    }
}

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
    let looped = Outcome::Answered {
        status: StatusCode::LOOP_DETECTED,
        retry_after: None,
    };
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
async fn a_problem_names_nothing_that_was_sent() {
    let (service, calls) = counting();
    let api = Api::with(|builder| builder.with_endpoint_policy(EndpointPolicy::public()));
    let layer = WebhookLayer::new().with_dispatcher(api.dispatcher.clone());
    for endpoint in [
        "https://127.0.0.1:8443/tell-tale",
        "https://[::ffff:10.1.2.3]/tell-tale",
        "https://2130706433/tell-tale",
        "https://localhost/tell-tale",
        "https://intranet/tell-tale",
        "https://tell-tale:secret@example.com/",
        "https://tell-tale.example.com:22/",
        "http://tell-tale.example.com/",
        "https://tell\ntale.example.com/",
        "https://tell-tale.example.com:99999/",
        "gopher://tell-tale/",
        "tell-tale",
        "",
        "\"}<script>tell-tale</script>",
    ] {
        let query = format!("webhookEndpoint={}", encoded(endpoint));
        for headers in [&[][..], &[("x-webhook-secret", "tell-tale")]] {
            let response = call(&layer, &service, &query, headers).await;
            assert_eq!(response.status(), 400, "{endpoint}");
            let names: Vec<_> = response
                .headers()
                .keys()
                .map(|name| name.as_str())
                .collect();
            assert_eq!(names, ["content-type"], "{endpoint}");
            let said = str::from_utf8(response.body()).unwrap();
            let of_its_own = said.replace("\"status\":400", "").replace("2048", "");
            for part in [
                "tell", "tale", "secret", "script", "://", "example", "intranet",
            ] {
                assert!(!of_its_own.contains(part), "{said}");
            }
            assert!(
                !of_its_own.bytes().any(|byte| byte.is_ascii_digit()),
                "{said}"
            );
        }
    }
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn without_room_the_handler_does_not_run() {
    for (in_all, per_host, refusal) in [
        (1, 1, Refusal::NoRoom),
        (9, 1, Refusal::NoRoomForHost),
        (0, 9, Refusal::NoRoom),
    ] {
        let (service, calls) = counting();
        let mut api = Api::with(|builder| {
            builder
                .with_resolver(Stub(never))
                .with_max_outstanding(in_all, per_host)
        });
        let layer = WebhookLayer::new().with_dispatcher(api.dispatcher.clone());
        let query = "webhookEndpoint=https%3A%2F%2Freceiver.example.com%2F";
        let room = usize::from(in_all > 0);
        for _ in 0..room {
            let response = call(&layer, &service, query, &[]).await;
            assert_eq!(response.status(), 200);
        }
        let response = call(&layer, &service, query, &[]).await;
        assert_eq!(response.status(), 503);
        assert!(response.headers().contains_key(RETRY_AFTER));
        assert_eq!(calls.load(Ordering::SeqCst), room);
        while api.event().await != EventKind::Refused(refusal) {}
        // Whoever asks for no webhook is not concerned.
        let response = call(&layer, &service, "", &[]).await;
        assert_eq!(response.status(), 200);
    }
}

#[tokio::test]
async fn a_full_memory_budget_refuses_too() {
    let (service, calls) = counting();
    let api = Api::with(|builder| {
        builder
            .with_resolver(Stub(never))
            .with_body_limit(1 << 20)
            .with_memory_budget(1 << 20)
    });
    let layer = WebhookLayer::new().with_dispatcher(api.dispatcher.clone());
    let query = "webhookEndpoint=https%3A%2F%2Freceiver.example.com%2F";
    assert_eq!(call(&layer, &service, query, &[]).await.status(), 200);
    // The small body that waits takes a little of what a large one would need.
    assert_eq!(call(&layer, &service, query, &[]).await.status(), 503);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn one_receiver_that_stalls_does_not_hold_up_another() {
    let receiver = Receiver::answering("HTTP/1.1 204 No Content\r\n\r\n");
    let stalling = Receiver::new(|mut conn| async move { conn.closed().await });
    let mut api = Api::with(|builder| builder.with_max_attempts(8, 8));
    for _ in 0..50 {
        api.send(&stalling.url_at("stalling.example.com")).await;
    }
    api.send(&receiver.url()).await;
    let attempted = api.attempted().await;
    assert!(matches!(attempted.outcome, Outcome::Answered { .. }));
    api.dispatcher.shutdown(std::time::Duration::ZERO).await;
    drop((api, receiver, stalling));
    no_task_is_left().await;
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
