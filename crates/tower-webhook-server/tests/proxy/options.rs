//! What the options change, each seen from outside.

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, Uri},
    routing::any,
};
use http::StatusCode;
use reqwest::Method;
use tokio::{net::TcpListener, sync::mpsc};

use crate::{
    process::within,
    raw::{Raw, echo},
    world::{SECRET, World, serve},
};

const PRIVATE: &str = "--insecure-private-endpoints";

/// What the service has seen.
fn mirror() -> Router {
    Router::new().fallback(any(|uri: Uri, headers: HeaderMap| async move {
        let secret = headers.contains_key("x-webhook-secret");
        format!("{uri} {secret}")
    }))
}

#[tokio::test]
async fn webhooks_have_the_headers_of_the_operator() {
    let header = ["--header", "X-Region: eu-1", "--header", "x-plan:free"];
    let args = [&[PRIVATE, "--brand", "Acme"], &header[..]].concat();
    let mut world = World::of(echo(), &args).await;
    world.call(Method::POST, "/").send().await.unwrap();
    // The receiver of these tests knows another brand, and the standard form.
    let webhook = world.webhook().await;
    assert_eq!(webhook.headers["x-region"], "eu-1");
    assert_eq!(webhook.headers["x-plan"], "free");
    assert!(webhook.headers.contains_key("x-acme-webhook-signature"));
    assert!(
        !webhook
            .headers
            .contains_key("x-cerebrium-webhook-signature")
    );
}

#[tokio::test]
async fn options_can_be_in_the_environment() {
    let service = format!("http://{}", serve(echo()).await);
    let environment = [
        ("TOWER_WEBHOOK_INSECURE_PRIVATE_ENDPOINTS", "true"),
        ("TOWER_WEBHOOK_REQUIRED_SECRET", "false"),
        ("TOWER_WEBHOOK_HEADER", "x-region: eu-1\nx-plan: free"),
        ("TOWER_WEBHOOK_ENDPOINT_HEADER", "x-callback"),
        ("TOWER_WEBHOOK_RESPONSE_ID", "yes"),
    ];
    let mut world = World::at(&service, &[], &environment).await;
    let call = world.plain(Method::POST, world.address, "/");
    let call = call.header("x-callback", &world.endpoint);
    let called = call
        .header("x-webhook-secret", SECRET)
        .send()
        .await
        .unwrap();
    let webhook = world.webhook().await;
    assert_eq!(webhook.headers["x-region"], "eu-1");
    assert_eq!(webhook.headers["x-plan"], "free");
    assert_eq!(called.headers()["x-request-id"], webhook.id);
}

#[tokio::test]
async fn a_value_in_the_environment_that_is_wrong_is_named() {
    let wrong = [
        ("TOWER_WEBHOOK_UPSTREAM", "service"),
        ("TOWER_WEBHOOK_MAX_RUN", "1h"),
    ];
    let mut proxy = crate::proxy(&[], &wrong);
    let text = proxy.stderr.rest().await;
    assert!(!proxy.exit().await.success());
    assert!(
        text.contains("--upstream <URL>") && text.contains("must begin with"),
        "{text}"
    );
    let mut proxy = crate::proxy(
        &["--upstream", "http://service"],
        &[("TOWER_WEBHOOK_ASYNC_REQUESTS", "perhaps")],
    );
    let text = proxy.stderr.rest().await;
    assert!(!proxy.exit().await.success());
    assert!(text.contains("--async-requests"), "{text}");
}

#[tokio::test]
async fn the_service_sees_nothing_of_the_webhook() {
    for (args, seen) in [
        (&[PRIVATE, "--hidden-request"][..], "/run?a=1 false"),
        (&[PRIVATE], " true"),
    ] {
        let mut world = World::of(mirror(), args).await;
        let called = world.call(Method::POST, "/run?a=1").send().await.unwrap();
        let text = called.text().await.unwrap();
        assert!(text.ends_with(seen), "{text}");
        assert_eq!(world.webhook().await.body, text);
    }
}

#[tokio::test]
async fn permits_add_and_denials_take() {
    let local = [
        "--permit-host",
        "localhost",
        "--permit-network",
        "127.0.0.0/8",
    ];
    let mut world = World::of(echo(), &local).await;
    world.call(Method::POST, "/").send().await.unwrap();
    world.webhook().await;

    let denied = [&local[..], &["--deny-network", "127.0.0.1,::1"]].concat();
    let world = World::of(echo(), &denied).await;
    let called = world.call(Method::POST, "/").send().await.unwrap();
    assert_eq!(called.status(), StatusCode::BAD_REQUEST);

    let denied = [PRIVATE, "--deny-host", "localhost,*.example.com"];
    let world = World::of(echo(), &denied).await;
    for host in ["localhost", "a.example.com"] {
        let call = world.plain(Method::POST, world.address, "/");
        let endpoint = format!("http://{host}/");
        let called = call.query(&[("webhookEndpoint", &endpoint)]).send();
        assert_eq!(called.await.unwrap().status(), StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn a_schedule_of_ones_own() {
    let args = [PRIVATE, "--retry", "patient", "--retry-delays", "0s,0s,0s"];
    let world = World::of(echo(), &args).await;
    // A receiver that says each time that it is not there.
    let receiver = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/", receiver.local_addr().unwrap());
    let call = world.plain(Method::POST, world.address, "/");
    let called = call.query(&[("webhookEndpoint", &endpoint)]).send();
    assert_eq!(called.await.unwrap().status(), StatusCode::OK);
    for attempt in 1..=4 {
        let mut raw = Raw::from(within(receiver.accept()).await.unwrap().0);
        let head = raw.head().await;
        assert!(
            head.contains(&format!("x-webhook-attempt: {attempt}")),
            "{head}"
        );
        raw.write("HTTP/1.1 503 Away\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .await;
    }
    let mut proxy = world.proxy;
    proxy.stderr.line_with("delivery failed for good").await;
}

#[tokio::test]
async fn more_webhooks_than_there_may_be_are_refused() {
    let (arrive, mut arrived) = mpsc::unbounded_channel();
    let service = Router::new().fallback(any(|body: Bytes| async move {
        if body == "stay" {
            let _ = arrive.send(());
            std::future::pending::<()>().await;
        }
    }));
    let world = World::of(service, &[PRIVATE, "--max-outstanding", "1"]).await;
    let stays = world.call(Method::POST, "/").body("stay").send();
    tokio::spawn(stays);
    within(arrived.recv()).await.unwrap();
    let next = world.call(Method::POST, "/").send().await.unwrap();
    assert_eq!(next.status(), StatusCode::SERVICE_UNAVAILABLE);
    let plain = world.plain(Method::POST, world.address, "/").send().await;
    assert_eq!(plain.unwrap().status(), StatusCode::OK);
}
