//! What is kept of a response has a bound, and the caller gets all of it.

use std::{convert::Infallible, future::ready};

use axum::{Router, body::Body, routing::get};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt, service_fn};
use tower_webhook::event::FailReason;

use crate::support::{
    caller::{BOTH, Caller},
    gate::gate,
    rig::Rig,
    server::serve,
};

const KIB: usize = 1 << 10;

/// So many chunks of 100 KiB, each asked for by itself.
fn chunks(number: usize) -> Body {
    let chunks = (0..number).map(|_| Ok::<_, Infallible>(Bytes::from(vec![b'x'; 100 * KIB])));
    Body::from_stream(stream::iter(chunks).then(|chunk| async {
        tokio::task::yield_now().await;
        chunk
    }))
}

#[tokio::test]
async fn a_body_that_outgrows_all_room_goes_to_its_caller_only() {
    for protocol in BOTH {
        let mut rig = Rig::with(|builder| builder.with_memory_budget(1_024 * KIB)).await;
        let app = Router::new().route("/", get(|| async { chunks(20) }));
        let server = serve(app.layer(rig.layer())).await;
        let mut caller = Caller::connect(server.address, protocol).await;
        let answer = caller.get(&rig.asking("/")).await;
        assert_eq!(answer.body.len(), 2_000 * KIB);
        rig.expect_failed(FailReason::NoRoom).await;
    }
}

#[tokio::test]
async fn a_declared_length_for_which_there_is_no_room_is_known_at_once() {
    let mut rig = Rig::with(|builder| builder.with_memory_budget(1_024 * KIB)).await;
    let whole = || {
        ready(Ok::<_, Infallible>(Response::new(Full::from(
            vec![b'x'; 2_000 * KIB],
        ))))
    };
    let service = rig.layer().layer(service_fn(move |_: Request<()>| whole()));
    let request = Request::get(rig.asking("/")).body(()).unwrap();
    let response = service.oneshot(request).await.unwrap();
    let notice = rig.receiver.next().await;
    assert_eq!(notice.header("x-webhook-failure"), "no-room");
    // There was a response, which had this status.
    assert_eq!(notice.header("x-webhook-response-status"), "200");
    let body: Bytes = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body.len(), 2_000 * KIB);
    rig.expect_delivered().await;
}

/// Slots are the limit for handlers that run long, not memory that nobody uses.
#[tokio::test]
async fn slow_handlers_are_as_many_as_there_are_slots() {
    let mut rig = Rig::new().await;
    let (gate, mut keeper) = gate();
    let handler = || async {
        gate.pass().await;
        "done"
    };
    let app: Router = Router::new().route("/", get(handler)).layer(rig.layer());
    let mut calls = tokio::task::JoinSet::new();
    let ask = |rig: &Rig| Request::get(rig.asking("/")).body(Body::empty()).unwrap();
    for _ in 0..1_024 {
        calls.spawn(app.clone().oneshot(ask(&rig)));
    }
    for _ in 0..1_024 {
        keeper.arrival().await;
    }
    let refused = app.clone().oneshot(ask(&rig)).await.unwrap();
    assert_eq!(refused.status(), 503, "one more of this host");
    keeper.open();
    while let Some(response) = calls.join_next().await {
        let response = response.unwrap().unwrap();
        assert_eq!(response.status(), 200);
        response.into_body().collect().await.unwrap();
    }
    for _ in 0..1_024 {
        rig.receiver.next().await;
    }
    rig.expect_no_more(1_024).await;
}

/// 250 such calls took 3.1 GiB.
#[tokio::test]
async fn a_message_of_megabytes_is_cut() {
    for in_trailers in [false, true] {
        let mut rig = Rig::new().await;
        let service = service_fn(move |_: Request<()>| {
            let message = HeaderValue::from_bytes(&vec![b'm'; 4 << 20]).unwrap();
            let status = HeaderValue::from_static("13");
            let mut grpc = HeaderMap::new();
            grpc.insert("grpc-message", message);
            grpc.insert("grpc-status", status);
            let mut response = Response::new(Body::empty());
            if in_trailers {
                let trailers = ready(Some(Ok::<_, Infallible>(grpc)));
                let body = Full::<Bytes>::from("message").with_trailers(trailers);
                response = Response::new(Body::new(body));
            } else {
                *response.headers_mut() = grpc;
            }
            ready(Ok::<_, Infallible>(response))
        });
        let request = Request::get(rig.asking("/")).body(()).unwrap();
        let response = rig.layer().layer(service).oneshot(request).await.unwrap();
        let head = response.headers().get("grpc-message").map(HeaderValue::len);
        let collected = response.into_body().collect().await.unwrap();
        let trailer = collected
            .trailers()
            .map(|trailers| trailers["grpc-message"].len());
        assert_eq!(head.or(trailer), Some(4 << 20), "the caller gets it whole");
        let webhook = rig.receiver.next().await;
        assert_eq!(webhook.header("grpc-status"), "13");
        let kept = webhook.header("grpc-message").len();
        assert_eq!(kept, 8 * KIB - "grpc-message".len() - "grpc-status13".len());
        rig.expect_delivered().await;
    }
}
