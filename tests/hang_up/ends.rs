//! What asked for none ends with its caller, and so does what was told to. A panic ends both.

use std::{convert::Infallible, panic::AssertUnwindSafe};

use axum::{Router, body::Body, routing::get};
use futures::{FutureExt, stream};
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tower::{Layer, ServiceExt, service_fn};
use tower_webhook::event::FailReason;

use crate::{
    endless::{endless, leave},
    support::{
        caller::{BOTH, Caller},
        rig::Rig,
        server::serve,
        soon,
    },
};

#[tokio::test]
async fn a_request_without_a_webhook_ends_with_its_caller() {
    for (protocol, path) in BOTH
        .into_iter()
        .flat_map(|p| [(p, "/handler"), (p, "/body")])
    {
        let mut rig = Rig::new().await;
        let (app, mut dropped, mut keeper) = endless();
        let app = app.layer(rig.layer());
        let mut server = serve(app).await;
        leave(&mut server, &mut keeper, protocol, path).await;
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
        let (app, mut dropped, mut keeper) = endless();
        let app = app.layer(rig.layer().with_cancel_on_disconnect());
        let mut server = serve(app).await;
        leave(&mut server, &mut keeper, protocol, &rig.asking(path)).await;
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
