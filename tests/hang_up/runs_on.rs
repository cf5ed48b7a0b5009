//! What asked for a webhook runs on, and is delivered whole.

use std::{collections::HashSet, convert::Infallible, time::Duration};

use axum::{Router, body::Body, routing::get};
use bytes::Bytes;
use futures::stream;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use tonic_health::pb::health_server::HealthServer;
use tower_http::timeout::TimeoutLayer;

use crate::{
    grpc,
    support::{
        caller::{BOTH, Caller, Protocol},
        gate::{Gate, gate},
        rig::Rig,
        server::serve,
        soon,
    },
};

/// Waits at the gate, then answers `whole` in one piece.
fn gated(gate: Gate) -> Router {
    let handler = || async {
        gate.pass().await;
        "whole"
    };
    Router::new().route("/", get(handler))
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

const FRAMES: usize = 100;

/// Not at a gate: the server goes on meanwhile, and may or may not be through.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_leave_after_any_frame() {
    for protocol in BOTH {
        let mut rig = Rig::new().await;
        let handler = || async {
            tokio::task::yield_now().await;
            let frames = stream::unfold(0, |sent| async move {
                tokio::task::yield_now().await;
                let frame = Ok::<_, Infallible>(Bytes::from(vec![b'x'; 1_000]));
                (sent < FRAMES).then_some((frame, sent + 1))
            });
            Body::from_stream(frames)
        };
        let app = Router::new().route("/", get(handler)).layer(rig.layer());
        let server = serve(app).await;
        let target = rig.asking("/");
        for frames in 0..FRAMES {
            let mut caller = Caller::connect(server.address, protocol).await;
            let request = caller.request(Method::GET, &target);
            let mut body = caller.send(request).await.unwrap().into_body();
            for _ in 0..frames {
                soon("a frame", body.frame()).await.unwrap().unwrap();
            }
            caller.leave().await;
        }
        for _ in 0..FRAMES {
            assert_eq!(rig.receiver.next().await.body.len(), FRAMES * 1_000);
        }
        rig.expect_no_more(FRAMES as u64).await;
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
