//! `--status-path`: what callers are told of their calls.

use axum::{Router, routing::post};
use reqwest::Method;

use crate::{
    process::within,
    world::{SECRET, World},
};

#[tokio::test]
async fn callers_follow_their_calls_and_nobody_else_does() {
    let service = Router::new()
        .route(
            "/run",
            post(|| async { ([("content-type", "text/csv")], "a,b") }),
        )
        .route("/webhooks-of-mine", post(|| async { "the service's" }));
    let args = ["--insecure-private-endpoints", "--async-requests"];
    let args = [&args[..], &["--status-path", "/webhooks/"]].concat();
    let mut world = World::of(service, &args).await;
    let call = world.call(Method::POST, "/run");
    let call = call.query(&[("async", "true")]);
    let answer = within(call.header("x-request-id", "run-1").send())
        .await
        .unwrap();
    assert_eq!(answer.status(), 202);
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(location, "/webhooks/run-1");
    assert_eq!(world.webhook().await.body, "a,b");

    let look = |path: &str, secret: Option<&str>| {
        let mut request = world.plain(Method::GET, world.address, path);
        if let Some(secret) = secret {
            request = request.header("x-webhook-secret", secret);
        }
        async { within(request.send()).await.unwrap() }
    };
    // The receiver has its webhook before the proxy has noted that.
    let known = loop {
        let known = look(&location, Some(SECRET)).await;
        assert_eq!(known.status(), 200);
        let known: serde_json::Value = known.text().await.unwrap().parse().unwrap();
        if known["state"] == "delivered" {
            break known;
        }
        assert_eq!(known["state"], "waiting");
    };
    assert_eq!(known["attempts"][0]["status"], 204);
    let result = look("/webhooks/run-1/result", Some(SECRET)).await;
    assert_eq!(result.headers()["content-type"], "text/csv");
    assert_eq!(within(result.text()).await.unwrap(), "a,b");
    for (path, secret) in [
        (&*location, None),
        (&*location, Some("another")),
        ("/webhooks/run-2", Some(SECRET)),
    ] {
        let answer = look(path, secret).await;
        assert_eq!(answer.status(), 404, "{path} {secret:?}");
        let text = within(answer.text()).await.unwrap();
        assert!(text.contains("no such call, or not yours"), "{text}");
    }
    // The path ends where its last segment does.
    let other = world.plain(Method::POST, world.address, "/webhooks-of-mine");
    let other = within(other.send()).await.unwrap();
    assert_eq!(within(other.text()).await.unwrap(), "the service's");
}
