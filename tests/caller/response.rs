//! What a caller can learn.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use tokio::{
    net::TcpListener,
    sync::Notify,
    time::{Instant, sleep},
};
use tower_webhook::{EndpointPolicy, EventKind, WebhookLayer};

use crate::{
    call, counting, encoded,
    hostile::{Api, Receiver, Stub, found, never, pause, resume, within},
};

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

/// A reservation is held until its delivery has ended: by when it is free again, whoever fills a host's share
/// must not be able to tell a name of the internal network from one that does not exist.
#[tokio::test]
async fn memory_left_says_nothing_about_a_name() {
    for endpoint in [
        "https://private.example.com/",
        "https://unknown.example.com/",
    ] {
        let mut api = Api::with(|builder| {
            let resolver = Stub(|name: &str| match name {
                "private.example.com" => found(["10.0.0.1"]),
                _ => found::<&str>([]),
            });
            builder
                .with_resolver(resolver)
                .with_max_outstanding(9)
                .with_max_outstanding_per_host(2)
        });
        pause();
        for _ in 0..2 {
            api.send(endpoint).await;
        }
        for _ in 0..2 {
            assert_eq!(api.attempted().await.attempt, 1);
        }
        let response = api.call(endpoint, "done").await;
        assert_eq!(response.status(), 503, "{endpoint}");
        // The most that two delays can be together.
        sleep(Duration::from_millis(7_600)).await;
        api.send(endpoint).await;
        assert_eq!(api.dispatcher.outstanding(), 1, "{endpoint}");
        resume();
    }
}

/// Nor does it keep a shutdown waiting.
#[tokio::test(start_paused = true)]
async fn what_is_forbidden_keeps_no_shutdown_waiting() {
    let mut api = Api::resolving(|_| found(["10.0.0.1"]));
    api.send("https://private.example.com/").await;
    api.end().await;
    let began = Instant::now();
    let report = api.dispatcher.shutdown(Duration::from_secs(60)).await;
    assert!(report.abandoned.is_empty() && report.unfinished == 0);
    assert_eq!(began.elapsed(), Duration::ZERO);
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
            // Where the rule is explained is the same for all.
            let (before, link) = said.split_once("https://github.com/").unwrap();
            let rest = link.split_once('#').unwrap().1;
            let of_its_own = format!("{before}{rest}").replace("\"status\":400", "");
            let of_its_own = of_its_own.replace("2048", "");
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
