//! The caller leaves: a request that asked for a webhook runs on, any other one ends.

use std::{collections::HashSet, convert::Infallible, time::Duration};

use axum::{Router, body::Body, routing::get};
use futures::{StreamExt, stream};
use http::{Method, Request, Response, StatusCode};
use tokio::sync::mpsc;
use tonic_health::pb::health_server::HealthServer;
use tower::{Layer, service_fn};
use tower_http::timeout::TimeoutLayer;
use tower_webhook::FailReason;

use crate::support::{
    caller::{BOTH, Caller, Protocol, next_text},
    gate::{Gate, TellDrop, gate},
    rig::Rig,
    server::serve,
    soon,
};

#[path = "support/grpc.rs"]
mod grpc;
mod support;

/// Waits at the gate, then answers `whole` in one piece.
fn gated(gate: Gate) -> Router {
    let handler = || async {
        gate.pass().await;
        "whole"
    };
    Router::new().route("/", get(handler))
}

/// A request whose future and whose body tell when they are dropped, and never end by themselves.
fn endless(tell: mpsc::UnboundedSender<()>, gate: Gate) -> Router {
    let (in_handler, in_body) = (tell.clone(), (tell, gate.clone()));
    let handler = || async move {
        let _guard = TellDrop(in_handler);
        gate.pass().await;
    };
    let streaming = || async {
        let (guard, gate) = (TellDrop(in_body.0), in_body.1);
        let rest = stream::once(async move {
            let _guard = guard;
            gate.pass().await;
            Ok("never")
        });
        Body::from_stream(stream::iter([Ok::<_, Infallible>("1")]).chain(rest))
    };
    Router::new()
        .route("/handler", get(handler))
        .route("/body", get(streaming))
}

/// Leaves `app` when its request waits at the gate, in the handler or amid the body.
async fn leave_at_the_gate(
    app: Router,
    protocol: Protocol,
    target: &str,
    arrived: &mut support::gate::Keeper,
) {
    let mut server = serve(app).await;
    let mut caller = Caller::connect(server.address, protocol).await;
    let answer = caller.send(caller.request(Method::GET, target));
    let mut under_way = None;
    if target.starts_with("/body") {
        let body = under_way.insert(answer.await.unwrap().into_body());
        assert_eq!(next_text(body).await, "1");
    }
    arrived.arrival().await;
    caller.leave().await;
    server.let_go.next().await;
}

#[tokio::test]
async fn a_reset_stream_leaves_its_connection_to_others() {
    let mut rig = Rig::new().await;
    let (gate, mut keeper) = gate();
    let mut server = serve(gated(gate).layer(rig.layer())).await;
    let mut caller = Caller::connect(server.address, Protocol::H2).await;
    let target = rig.asking("/");
    let reset = tokio::spawn(caller.send(caller.request(Method::GET, &target)));
    keeper.arrival().await;
    reset.abort();
    server.let_go.next().await;
    let stays = caller.send(caller.request(Method::GET, "/"));
    keeper.arrival().await;
    keeper.open();
    assert_eq!(stays.await.unwrap().status(), StatusCode::OK);
    assert_eq!(rig.receiver.next().await.body, "whole");
    rig.expect_delivered().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_callers_leave() {
    for protocol in BOTH {
        let mut rig = Rig::new().await;
        let (gate, mut keeper) = gate();
        let mut server = serve(gated(gate).layer(rig.layer())).await;
        let target = rig.asking("/");
        let mut callers = Vec::new();
        for _ in 0..200 {
            let mut caller = Caller::connect(server.address, protocol).await;
            let answer = caller.send(caller.request(Method::GET, &target));
            callers.push((caller, answer));
        }
        for _ in 0..200 {
            keeper.arrival().await;
        }
        for (caller, answer) in callers {
            caller.leave().await;
            assert!(answer.await.is_err());
            server.let_go.next().await;
        }
        keeper.open();
        let mut ids = HashSet::new();
        for _ in 0..200 {
            let webhook = rig.receiver.next().await;
            assert_eq!(webhook.body, "whole");
            ids.insert(webhook.header("x-request-id").to_owned());
        }
        assert_eq!(ids.len(), 200);
        rig.expect_no_more(200).await;
    }
}

#[tokio::test]
async fn grpc_callers_leave() {
    let (gate, mut keeper) = gate();
    let mut rig = Rig::new().await;
    let service = HealthServer::new(grpc::GatedHealth(gate));
    let (server, mut let_go) = grpc::serve(service, grpc::layer(&rig)).await;

    let (mut client, request) = (grpc::client(server).await, grpc::asking(&rig, ""));
    let check = tokio::spawn(async move { client.check(request).await });
    keeper.arrival().await;
    check.abort();
    let_go.next().await;

    let mut client = grpc::client(server).await;
    let mut watch = client
        .watch(grpc::asking(&rig, ""))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(watch.message().await.unwrap(), Some(grpc::serving()));
    keeper.arrival().await;
    drop((watch, client));
    let_go.next().await;

    keeper.open();
    let mut webhooks = [rig.receiver.next().await, rig.receiver.next().await];
    webhooks.sort_by_key(|webhook| webhook.body.len());
    let [check, watch] = &webhooks;
    assert_eq!(
        (&*check.body, check.header("grpc-status")),
        (grpc::SERVING, "0")
    );
    assert_eq!(watch.body, grpc::SERVING.repeat(2));
    assert_eq!(watch.header("grpc-status"), "15");
    rig.expect_no_more(2).await;
}

#[tokio::test]
async fn a_request_without_a_webhook_ends_with_its_caller() {
    for (protocol, path) in BOTH
        .into_iter()
        .flat_map(|p| [(p, "/handler"), (p, "/body")])
    {
        let mut rig = Rig::new().await;
        let (tell, mut dropped) = mpsc::unbounded_channel();
        let (gate, mut keeper) = gate();
        let app = endless(tell, gate).layer(rig.layer());
        leave_at_the_gate(app, protocol, path, &mut keeper).await;
        soon("the request's end", dropped.recv()).await.unwrap();
        rig.expect_no_more(0).await;
    }
}

#[tokio::test]
async fn a_request_can_be_told_to_end_with_its_caller() {
    for (protocol, path) in BOTH
        .into_iter()
        .flat_map(|p| [(p, "/handler"), (p, "/body")])
    {
        let mut rig = Rig::new().await;
        let (tell, mut dropped) = mpsc::unbounded_channel();
        let (gate, mut keeper) = gate();
        let app = endless(tell, gate).layer(rig.layer().with_cancel_on_disconnect());
        leave_at_the_gate(app, protocol, &rig.asking(path), &mut keeper).await;
        soon("the request's end", dropped.recv()).await.unwrap();
        rig.expect_failed(FailReason::CallerLeft).await;
    }
}

#[tokio::test]
async fn a_handler_that_panics_fails_once() {
    for protocol in BOTH {
        let mut rig = Rig::new().await;
        let handler = || async {
            tokio::task::yield_now().await;
            panic!("on purpose");
            #[expect(unreachable_code)]
            ()
        };
        let app = Router::new().route("/", get(handler)).layer(rig.layer());
        let server = serve(app).await;
        let mut caller = Caller::connect(server.address, protocol).await;
        let request = caller.request(Method::GET, &rig.asking("/"));
        assert!(caller.send(request).await.is_err());
        rig.expect_failed(FailReason::Panicked).await;
    }
}

#[tokio::test]
async fn a_service_that_panics_when_called_fails_once() {
    for protocol in BOTH {
        let mut rig = Rig::new().await;
        let service = service_fn(|request: Request<hyper::body::Incoming>| {
            assert_eq!(request.uri().path(), "", "on purpose");
            std::future::ready(Ok::<_, Infallible>(Response::new(Body::empty())))
        });
        let server = serve(rig.layer().layer(service)).await;
        let mut caller = Caller::connect(server.address, protocol).await;
        let request = caller.request(Method::GET, &rig.asking("/"));
        assert!(caller.send(request).await.is_err());
        rig.expect_failed(FailReason::Panicked).await;
    }
}

fn at_once() -> TimeoutLayer {
    TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_millis(1))
}

#[tokio::test]
async fn a_timeout_outside_is_a_caller_that_leaves() {
    let mut rig = Rig::new().await;
    let (gate, mut keeper) = gate();
    let server = serve(gated(gate).layer(rig.layer()).layer(at_once())).await;
    let mut caller = Caller::connect(server.address, Protocol::H1).await;
    assert_eq!(
        caller.get(&rig.asking("/")).await.status,
        StatusCode::REQUEST_TIMEOUT
    );
    keeper.arrival().await;
    keeper.open();
    let webhook = rig.receiver.next().await;
    assert_eq!(
        (&*webhook.body, webhook.header("x-webhook-response-status")),
        (&b"whole"[..], "200")
    );
    rig.expect_delivered().await;
}

#[tokio::test]
async fn a_timeout_inside_is_the_response() {
    let mut rig = Rig::new().await;
    let (gate, _keeper) = gate();
    let server = serve(gated(gate).layer(at_once()).layer(rig.layer())).await;
    let mut caller = Caller::connect(server.address, Protocol::H1).await;
    assert_eq!(
        caller.get(&rig.asking("/")).await.status,
        StatusCode::REQUEST_TIMEOUT
    );
    let webhook = rig.receiver.next().await;
    assert_eq!(
        (&*webhook.body, webhook.header("x-webhook-response-status")),
        (&b""[..], "408")
    );
    rig.expect_delivered().await;
}
