//! Who gets a receipt, and when.

use std::{convert::Infallible, time::Duration};

use axum::{Router, body::Body, routing::get};
use bytes::Bytes;
use futures::stream;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::{sync::mpsc, time::Instant};
use tonic_health::pb::health_server::HealthServer;
use tower::{Layer, ServiceExt, service_fn};
use tower_http::timeout::TimeoutLayer;
use tower_webhook::{Dispatcher, Payload, WebhookLayer, event::FailReason};

use crate::{
    grpc,
    support::{
        caller::{Answer, BOTH, Caller},
        gate::{Gate, gate},
        rig::Rig,
        server::serve,
    },
};

/// Waits at the gate, then answers with a stream.
fn gated(gate: Gate) -> Router {
    let handler = || async {
        gate.pass().await;
        let frames = stream::iter(["who", "le"]).map(Ok::<_, Infallible>);
        (StatusCode::CREATED, Body::from_stream(frames))
    };
    use futures::StreamExt;
    Router::new().route("/", get(handler))
}

async fn call(caller: &mut Caller, target: &str, headers: &[(&'static str, &str)]) -> Answer {
    let mut request = caller.request(Method::GET, target);
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    caller.call(request).await
}

fn assert_receipt(answer: &Answer, run_id: &str, is_preferred: bool) {
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["x-request-id"], run_id);
    let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(json, serde_json::json!({ "run_id": run_id }));
    let applied = answer.headers.get("preference-applied");
    let expected = is_preferred.then_some("respond-async");
    assert_eq!(applied.map(|applied| applied.to_str().unwrap()), expected);
}

#[tokio::test]
async fn whoever_asks_for_a_receipt_gets_it_at_once_and_the_response_goes_to_the_endpoint() {
    for protocol in BOTH {
        for (parameter, headers, is_preferred) in [
            ("&async=true", &[][..], false),
            ("", &[("prefer", "respond-async")][..], true),
            ("", &[("prefer", "respond-async, wait=0")][..], true),
            (
                "&async=true",
                &[("prefer", "handling=lenient"), ("prefer", "respond-async")][..],
                true,
            ),
        ] {
            let mut rig = Rig::new().await;
            let (gate, mut keeper) = gate();
            let app = gated(gate).layer(rig.layer().with_async_requests());
            let server = serve(app).await;
            let mut caller = Caller::connect(server.address, protocol).await;
            let headers = [headers, &[("x-request-id", "run-1")]].concat();
            let target = format!("{}{parameter}", rig.asking("/"));
            let answer = call(&mut caller, &target, &headers).await;
            assert_receipt(&answer, "run-1", is_preferred);
            // The caller may go; a connection that is gone ends nothing.
            keeper.arrival().await;
            caller.leave().await;
            keeper.open();
            let webhook = rig.receiver.next().await;
            assert_eq!(webhook.body, "whole");
            assert_eq!(webhook.header("x-webhook-response-status"), "201");
            assert_eq!(webhook.header("x-request-id"), "run-1");
            rig.expect_delivered().await;
        }
    }
}

#[tokio::test]
async fn an_id_of_our_own_is_in_the_receipt() {
    let mut rig = Rig::new().await;
    let app = Router::new().route("/", get(|| async { "done" }));
    let server = serve(app.layer(rig.layer().with_async_requests())).await;
    let mut caller = Caller::connect(server.address, BOTH[0]).await;
    let target = format!("{}&async=true", rig.asking("/"));
    let answer = call(&mut caller, &target, &[]).await;
    let webhook = rig.receiver.next().await;
    assert_receipt(&answer, webhook.header("webhook-id"), false);
    rig.expect_delivered().await;
}

#[tokio::test]
async fn nobody_else_gets_a_receipt() {
    let mut rig = Rig::new().await;
    let app = Router::new().route("/", get(|| async { "done" }));
    let preferred = [("prefer", "respond-async")];
    for (layer, target, headers) in [
        // Not turned on.
        (
            rig.layer(),
            format!("{}&async=true", rig.asking("/")),
            &[][..],
        ),
        (rig.layer(), rig.asking("/"), &preferred),
        // Without an endpoint.
        (
            rig.layer().with_async_requests(),
            "/?async=true".into(),
            &[],
        ),
        (rig.layer().with_async_requests(), "/".into(), &preferred),
        // Not asked for.
        (
            rig.layer().with_async_requests(),
            format!("{}&async=false", rig.asking("/")),
            &[("prefer", "wait=5")],
        ),
    ] {
        let server = serve(app.clone().layer(layer)).await;
        for protocol in BOTH {
            let mut caller = Caller::connect(server.address, protocol).await;
            let answer = call(&mut caller, &target, headers).await;
            assert_eq!(
                (answer.status, &*answer.body),
                (StatusCode::OK, &b"done"[..])
            );
            assert!(!answer.headers.contains_key("preference-applied"));
            assert!(!answer.headers.contains_key("x-request-id"));
        }
    }
    for _ in 0..6 {
        assert_eq!(rig.receiver.next().await.body, "done");
    }
    rig.expect_no_more(6).await;
}

/// Without sockets: the clock goes on by itself where there are none.
#[tokio::test(start_paused = true)]
async fn a_head_that_is_there_in_time_is_no_receipt() {
    for (takes, wait, is_in_time, secs) in [
        (3, "5", true, 3),
        (6, "5", false, 5),
        (59, "3600", true, 59),
        (61, "3600", false, 60),
    ] {
        let (tell, mut told) = mpsc::unbounded_channel();
        let client = service_fn(move |request: Request<Payload>| {
            tell.send(request).unwrap();
            async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) }
        });
        let dispatcher = Dispatcher::builder_with_client(client).build();
        let layer = WebhookLayer::new().with_dispatcher(dispatcher);
        let service = service_fn(move |_: Request<()>| async move {
            tokio::time::sleep(Duration::from_secs(takes)).await;
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("done")))
        });
        let request = Request::get("/?webhookEndpoint=https://receiver.example.com/")
            .header("prefer", format!("respond-async, wait={wait}"))
            .body(())
            .unwrap();
        let begun = Instant::now();
        let service = layer.with_async_requests().layer(service);
        let response = service.oneshot(request).await.unwrap();
        assert_eq!(begun.elapsed().as_secs(), secs, "{wait} of {takes}");
        assert_eq!(response.status() == StatusCode::OK, is_in_time);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body == "done", is_in_time);
        let posted = told.recv().await.unwrap().into_body();
        assert_eq!(posted.to_bytes(), "done");
    }
}

#[tokio::test]
async fn a_head_request_is_receipted_without_a_body() {
    for protocol in BOTH {
        let mut rig = Rig::new().await;
        let app = Router::new().route("/", get(|| async { "done" }));
        let server = serve(app.layer(rig.layer().with_async_requests())).await;
        let mut caller = Caller::connect(server.address, protocol).await;
        let target = format!("{}&async=true", rig.asking("/"));
        let answer = caller.call(caller.request(Method::HEAD, &target)).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (202, 0));
        assert_eq!(rig.receiver.next().await.body, "");
        rig.expect_delivered().await;
    }
}

/// Its client could not read a 202.
#[tokio::test]
async fn a_grpc_call_is_left_as_it_is() {
    let (gate, mut keeper) = gate();
    let mut rig = Rig::new().await;
    let service = HealthServer::new(grpc::GatedHealth(gate));
    let layer = grpc::layer(&rig).with_async_requests();
    let (server, _let_go) = grpc::serve(service, layer).await;
    let mut request = grpc::asking(&rig, "");
    let metadata = request.metadata_mut();
    metadata.insert("prefer", "respond-async".parse().unwrap());
    let mut client = grpc::client(server).await;
    let check = tokio::spawn(async move { client.check(request).await });
    keeper.arrival().await;
    keeper.open();
    let answer = check.await.unwrap().unwrap();
    assert_eq!(answer.into_inner(), grpc::serving());
    assert_eq!(rig.receiver.next().await.body, grpc::SERVING);
    rig.expect_delivered().await;
}

/// It has its answer by then.
#[tokio::test]
async fn a_timeout_outside_ends_no_run() {
    let mut rig = Rig::new().await;
    let (gate, mut keeper) = gate();
    let timeout = TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::MAX);
    let layer = rig
        .layer()
        .with_async_requests()
        .with_cancel_on_disconnect();
    let server = serve(gated(gate).layer(layer).layer(timeout)).await;
    let mut caller = Caller::connect(server.address, BOTH[0]).await;
    let target = format!("{}&async=true", rig.asking("/"));
    assert_eq!(call(&mut caller, &target, &[]).await.status, 202);
    caller.leave().await;
    keeper.arrival().await;
    keeper.open();
    assert_eq!(rig.receiver.next().await.body, "whole");
    rig.expect_delivered().await;
}

#[tokio::test]
async fn a_run_that_takes_too_long_or_fails_is_told_of() {
    for protocol in BOTH {
        let mut rig = Rig::new().await;
        let (gate, _keeper) = gate();
        let layer = rig.layer().with_async_requests();
        let layer = layer.with_run_limit(Duration::from_millis(1));
        let server = serve(gated(gate).layer(layer)).await;
        let mut caller = Caller::connect(server.address, protocol).await;
        let target = format!("{}&async=true", rig.asking("/"));
        assert_eq!(call(&mut caller, &target, &[]).await.status, 202);
        rig.expect_failed(FailReason::TimedOut).await;

        let mut rig = Rig::new().await;
        let app = Router::new().route("/", get(|| async { panic!("on purpose") as &str }));
        let server = serve(app.layer(rig.layer().with_async_requests())).await;
        let mut caller = Caller::connect(server.address, protocol).await;
        let target = format!("{}&async=true", rig.asking("/"));
        assert_eq!(call(&mut caller, &target, &[]).await.status, 202);
        rig.expect_failed(FailReason::Panicked).await;
    }
}

/// They were promised an answer: whoever leaves a call makes room, and they do not.
#[tokio::test]
async fn runs_hold_their_slots_whoever_comes() {
    const SLOTS: usize = 8;
    let mut rig = Rig::with(|builder| builder.with_max_outstanding(SLOTS)).await;
    let (gate, mut keeper) = gate();
    let app = gated(gate).layer(rig.layer().with_async_requests());
    let server = serve(app).await;
    let mut caller = Caller::connect(server.address, BOTH[0]).await;
    let target = format!("{}&async=true", rig.asking("/"));
    for _ in 0..SLOTS {
        assert_eq!(call(&mut caller, &target, &[]).await.status, 202);
        keeper.arrival().await;
    }
    assert_eq!(call(&mut caller, &target, &[]).await.status, 503);
    keeper.open();
    for _ in 0..SLOTS {
        assert_eq!(rig.receiver.next().await.body, "whole");
    }
    rig.expect_no_more(SLOTS as u64).await;
}
