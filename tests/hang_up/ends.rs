//! What asked for none ends with its caller, and so does what was told to. A panic ends both.

use std::{convert::Infallible, panic::AssertUnwindSafe};

use axum::{Router, body::Body, routing::get};
use futures::{FutureExt, StreamExt, stream};
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tower::{Layer, ServiceExt, service_fn};
use tower_webhook::event::FailReason;

use crate::support::{
    caller::{BOTH, Caller, Protocol, next_text},
    gate::{Gate, Keeper, TellDrop, gate},
    rig::Rig,
    server::serve,
    soon,
};

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
async fn leave_at_the_gate(app: Router, protocol: Protocol, target: &str, arrived: &mut Keeper) {
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
        let service = service_fn(|request: Request<Incoming>| {
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

/// A layer outside that catches panics drops what has panicked when that is over.
#[tokio::test]
async fn a_panic_that_is_caught_fails_once() {
    let mut rig = Rig::new().await;
    let request = Request::get(rig.asking("/")).body(()).unwrap();
    let panicking = service_fn(
        async |_: Request<()>| -> Result<Response<Body>, Infallible> {
            panic!("on purpose");
        },
    );
    let mut answer = Box::pin(rig.layer().layer(panicking).oneshot(request));
    assert!(caught(&mut answer).await);
    drop(answer);
    rig.expect_failed(FailReason::Panicked).await;

    let mut rig = Rig::new().await;
    let request = Request::get(rig.asking("/")).body(()).unwrap();
    let panicking = service_fn(async |_: Request<()>| {
        let frames = (0..1).map(|_| -> Result<&str, Infallible> { panic!("on purpose") });
        Ok::<_, Infallible>(Response::new(Body::from_stream(stream::iter(frames))))
    });
    let response = rig.layer().layer(panicking).oneshot(request).await;
    let mut body = response.unwrap().into_body();
    assert!(caught(body.frame()).await);
    drop(body);
    rig.expect_failed(FailReason::Panicked).await;
}

async fn caught(panicking: impl Future) -> bool {
    AssertUnwindSafe(panicking).catch_unwind().await.is_err()
}
