//! What callers learn of their calls, and others do not.

use std::time::Duration;

use axum::{Router, body::Body, routing::get};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use tokio::time::Instant;
use tower::ServiceExt;
use tower_webhook::{
    Dispatcher,
    outbox::{DeliveryState, MemoryOutbox},
    status,
    status::Status,
};

use crate::support::{gate::gate, rig::Rig};

const SECRET: (&str, &str) = ("x-webhook-secret", "hush");

pub(crate) async fn rig_with_payloads() -> Rig {
    let outbox = MemoryOutbox::new().with_history_payloads();
    Rig::with_built(|builder| builder.with_outbox(outbox).build()).await
}

async fn ask(
    status: &Status,
    method: Method,
    path: &str,
    headers: &[(&'static str, &'static str)],
) -> Response<Bytes> {
    // Mounted as users do, with bodies of another type than ours.
    let app: Router = Router::new().nest_service("/webhooks", status.clone());
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = app.oneshot(request.body(Body::empty()).unwrap()).await;
    let (head, body) = response.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    assert_eq!(head.headers["cache-control"], "no-store");
    Response::from_parts(head, body)
}

pub(crate) async fn look(status: &Status, path: &str) -> Response<Bytes> {
    ask(status, Method::GET, path, &[SECRET]).await
}

pub(crate) fn json(response: &Response<Bytes>) -> serde_json::Value {
    assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
    serde_json::from_slice(response.body()).unwrap()
}

/// A call through a layer with this handler, which gets a 202.
async fn call(rig: &Rig, app: Router, id: &str, secret: Option<&'static str>) -> HeaderMap {
    let layer = rig.layer().with_async_requests();
    let app = app.layer(layer.with_status_location("/webhooks/"));
    let target = format!("{}&async=true", rig.asking("/"));
    let mut request = Request::get(target).header("x-request-id", id);
    if let Some(secret) = secret {
        request = request.header("x-webhook-secret", secret);
    }
    let response = app.oneshot(request.body(Body::empty()).unwrap()).await;
    let response = response.unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    response.headers().clone()
}

#[tokio::test]
async fn a_call_is_followed_from_its_202_to_its_result() {
    let mut rig = rig_with_payloads().await;
    let (gate, mut keeper) = gate();
    let handler = || async {
        gate.pass().await;
        (StatusCode::CREATED, [(CONTENT_TYPE, "text/csv")], "a,b")
    };
    let app = Router::new().route("/", get(handler));
    let headers = call(&rig, app, "run-1", Some("hush")).await;
    assert_eq!(headers["location"], "/webhooks/run-1");
    keeper.arrival().await;
    let status = status(&rig.dispatcher);
    let running = look(&status, "/webhooks/run-1").await;
    assert_eq!(running.status(), StatusCode::OK);
    let expected = serde_json::json!({"run_id": "run-1", "state": "running", "attempts": []});
    assert_eq!(json(&running), expected);
    let result = look(&status, "/webhooks/run-1/result").await;
    assert_eq!(result.status(), StatusCode::ACCEPTED);
    assert_eq!(result.headers()["retry-after"], "1");
    assert_eq!(json(&result), expected);

    keeper.open();
    assert_eq!(rig.receiver.next().await.body, "a,b");
    rig.expect_delivered().await;
    let delivered = json(&look(&status, "/webhooks/run-1").await);
    assert_eq!(delivered["state"], "delivered");
    assert_eq!(delivered["response_status"], 201);
    assert_eq!(delivered["attempts"][0]["attempt"], 1);
    assert_eq!(delivered["attempts"][0]["status"], 200);
    assert!(delivered["attempts"][0]["took_ms"].is_u64());
    // Neither an address nor what the receiver said.
    assert!(!delivered.to_string().contains("127.0.0.1"));
    let result = look(&status, "/webhooks/run-1/result").await;
    assert_eq!(
        (result.status(), &**result.body()),
        (StatusCode::OK, &b"a,b"[..])
    );
    assert_eq!(result.headers()[CONTENT_TYPE], "text/csv");
    assert_eq!(result.headers()["x-webhook-response-status"], "201");
    assert_eq!(result.headers()["x-request-id"], "run-1");
    assert_eq!(result.headers()["x-content-type-options"], "nosniff");
    let head = ask(&status, Method::HEAD, "/webhooks/run-1/result", &[SECRET]).await;
    assert_eq!((head.status(), head.body().len()), (StatusCode::OK, 0));
    assert_eq!(head.headers()["content-length"], "3");
    let wrong = ask(&status, Method::DELETE, "/webhooks/run-1", &[SECRET]).await;
    assert_eq!(wrong.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_result_that_is_not_kept_is_not_there_and_its_call_is() {
    let mut rig = Rig::new().await;
    let app = Router::new().route("/", get(|| async { "done" }));
    call(&rig, app, "run-1", Some("hush")).await;
    rig.expect_delivered().await;
    let status = status(&rig.dispatcher);
    let known = json(&look(&status, "/webhooks/run-1").await);
    assert_eq!(known["state"], "delivered");
    let result = look(&status, "/webhooks/run-1/result").await;
    assert_eq!(result.status(), StatusCode::NOT_FOUND);
    assert_eq!(result.headers()[CONTENT_TYPE], "application/problem+json");
}

#[tokio::test]
async fn a_call_that_fails_says_why() {
    let mut rig = rig_with_payloads().await;
    let app = Router::new().route("/", get(|| async { panic!("on purpose") as &str }));
    call(&rig, app, "run-1", Some("hush")).await;
    rig.expect_failed(tower_webhook::event::FailReason::Panicked)
        .await;
    let status = status(&rig.dispatcher);
    let failed = json(&look(&status, "/webhooks/run-1").await);
    assert_eq!(
        (&failed["state"], &failed["failure"]),
        (&"failed".into(), &"panicked".into())
    );
    let result = look(&status, "/webhooks/run-1/result").await;
    assert_eq!(result.headers()["x-webhook-failure"], "panicked");
    assert_eq!(result.headers()[CONTENT_TYPE], "application/problem+json");
}

#[tokio::test]
async fn whoever_may_not_look_cannot_tell_it_from_what_is_not_there() {
    let mut rig = rig_with_payloads().await;
    let app = Router::new().route("/", get(|| async { "done" }));
    call(&rig, app.clone(), "run-1", Some("hush")).await;
    call(&rig, app, "unsigned", None).await;
    for _ in 0..2 {
        rig.receiver.next().await;
    }
    rig.expect_no_more(2).await;
    let status = status(&rig.dispatcher);
    let mut answers = Vec::new();
    for path in [
        "/webhooks/run-1",
        "/webhooks/run-1/result",
        "/webhooks/unsigned",
        "/webhooks/nobody",
        "/webhooks/not.an.id",
        "/webhooks/nobody/result",
    ] {
        for headers in [
            &[][..],
            &[("x-webhook-secret", "hus")],
            &[("x-webhook-secret", "")],
            &[("x-webhook-secret", "hush2")],
            // Which of the two is meant?
            &[SECRET, ("x-webhook-secret", "other")],
        ] {
            let begun = Instant::now();
            let answer = ask(&status, Method::GET, path, headers).await;
            assert!(
                begun.elapsed() >= Duration::from_millis(50),
                "{path} {headers:?}"
            );
            let (head, body) = answer.into_parts();
            answers.push((head.status, format!("{:?}", head.headers), body));
        }
    }
    assert_eq!(answers[0].0, StatusCode::NOT_FOUND);
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}

/// Without sockets: the clock goes on by itself where there are none.
#[tokio::test(start_paused = true)]
async fn a_refusal_takes_the_same_time_whatever_was_found() {
    let client = tower::service_fn(|_: Request<tower_webhook::Payload>| async {
        Ok::<_, std::convert::Infallible>(Response::new(http_body_util::Empty::<Bytes>::new()))
    });
    let dispatcher = Dispatcher::builder_with_client(client).build();
    let endpoint = tower_webhook::EndpointPolicy::public().check("https://example.com/");
    let mut parts = tower_webhook::delivery::DeliveryParts::new(
        endpoint.unwrap(),
        tower_webhook::Payload::from("done"),
    );
    parts.secret = Some(tower_webhook::Secret::new("hush"));
    let known = dispatcher.deliver(parts).await.unwrap().to_string();
    let status = status(&dispatcher);
    for id in [&*known, "nobody", "no.id"] {
        let begun = Instant::now();
        let path = format!("/webhooks/{id}");
        let wrong = ("x-webhook-secret", "other");
        let answer = ask(&status, Method::GET, &path, &[wrong]).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        assert_eq!(begun.elapsed().as_millis() / 10, 5, "{id}");
    }
    let begun = Instant::now();
    let answer = look(&status, &format!("/webhooks/{known}")).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn of_several_calls_with_one_id_it_is_the_newest_that_the_secret_opens() {
    let mut rig = rig_with_payloads().await;
    for (secret, text) in [("hush", "first"), ("hush", "second"), ("other", "third")] {
        let app = Router::new().route("/", get(move || async move { text }));
        call(&rig, app, "run-1", Some(secret)).await;
        assert_eq!(rig.receiver.next().await.body, text);
        rig.events.end().await;
    }
    let status = status(&rig.dispatcher);
    let result = look(&status, "/webhooks/run-1/result").await;
    assert_eq!(result.body(), "second");
}

#[tokio::test]
async fn an_operators_check_opens_calls_as_well() {
    let mut rig = rig_with_payloads().await;
    let app = Router::new().route("/", get(|| async { "done" }));
    call(&rig, app, "run-1", None).await;
    rig.expect_delivered().await;
    let status = status(&rig.dispatcher).with_access(|request, call| {
        call.state == DeliveryState::Delivered && request.headers.contains_key("x-operator")
    });
    let path = "/webhooks/run-1/result";
    let open = ask(&status, Method::GET, path, &[("x-operator", "me")]).await;
    assert_eq!(open.body(), "done");
    assert_eq!(look(&status, path).await.status(), StatusCode::NOT_FOUND);
}

/// Most calls have their response at once: these are there from then on.
#[tokio::test]
async fn a_call_that_had_its_response_is_there_too() {
    let mut rig = rig_with_payloads().await;
    let app = Router::new().route("/", get(|| async { "done" }));
    let request = Request::get(rig.asking("/"))
        .header("x-request-id", "run-1")
        .header(SECRET.0, SECRET.1);
    let response = app
        .layer(rig.layer())
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    response.into_body().collect().await.unwrap();
    rig.expect_delivered().await;
    let result = look(&status(&rig.dispatcher), "/webhooks/run-1/result").await;
    assert_eq!(result.body(), "done");
}
