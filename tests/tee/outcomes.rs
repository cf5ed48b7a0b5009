//! The table of responses, callers and protocols: one outcome each.

use axum::{Router, body::Body, routing::get};
use http::{Method, Request};
use http_body_util::BodyExt;
use tower::{Layer, service_fn};
use tower_webhook::event::FailReason;

use crate::{
    responses::{Case, End, cases, respond},
    support::{
        caller::{BOTH, Caller, Protocol, next_text},
        gate::gate,
        rig::Rig,
        server::serve,
        soon,
    },
};

#[tokio::test]
async fn each_response_over_h1() {
    for case in cases() {
        ends_once(&case, Protocol::H1).await;
    }
}

#[tokio::test]
async fn each_response_over_h2() {
    for case in cases() {
        ends_once(&case, Protocol::H2).await;
    }
}

async fn ends_once(case: &Case, protocol: Protocol) {
    println!("{} over {protocol:?}", case.name); // shown when it fails
    let mut rig = Rig::new().await;
    let server = serve(rig.layer().layer(service_fn(respond))).await;
    let mut caller = Caller::connect(server.address, protocol).await;
    let request = caller.request(case.method.clone(), &rig.asking(&case.path()));
    // Some of these answers never come to a good end.
    if let Ok(response) = caller.send(request).await {
        let _ = soon("the body", response.into_body().collect()).await;
    }
    let payload = match &case.end {
        End::CutAtLength(_) if protocol == Protocol::H2 => {
            return rig.expect_failed(FailReason::LengthMismatch).await;
        }
        End::Delivered(payload) | End::CutAtLength(payload) => payload,
        End::Failed(reason) => return rig.expect_failed(*reason).await,
    };
    let webhook = rig.receiver.next().await;
    assert_eq!(
        (&webhook.method, webhook.uri.path()),
        (&Method::POST, "/hook")
    );
    assert_eq!(&webhook.body, payload);
    assert_eq!(webhook.header("content-length"), payload.len().to_string());
    let original = respond(Request::get(case.path()).body(()).unwrap())
        .await
        .unwrap();
    assert_eq!(
        webhook.header("x-webhook-response-status"),
        original.status().as_str()
    );
    let content_type = |headers: &http::HeaderMap| headers.get("content-type").cloned();
    assert_eq!(
        content_type(&webhook.headers),
        content_type(original.headers())
    );
    rig.expect_delivered().await;
    assert!(rig.receiver.rest().is_empty(), "sent more than once");
}

#[tokio::test]
async fn a_caller_that_leaves_while_the_handler_runs() {
    for protocol in BOTH {
        let mut rig = Rig::new().await;
        let (gate, mut keeper) = gate();
        let handler = || async {
            gate.pass().await;
            "whole"
        };
        let app = Router::new().route("/", get(handler)).layer(rig.layer());
        let mut server = serve(app).await;
        let mut caller = Caller::connect(server.address, protocol).await;
        let answer = caller.send(caller.request(Method::GET, &rig.asking("/")));
        keeper.arrival().await;
        drop(answer);
        caller.leave().await;
        server.let_go.next().await;
        keeper.open();
        assert_eq!(rig.receiver.next().await.body, "whole");
        rig.expect_delivered().await;
    }
}

#[tokio::test]
async fn a_caller_that_leaves_amid_the_body() {
    for protocol in BOTH {
        for declared in [None, Some("9")] {
            let mut rig = Rig::new().await;
            let (gate, mut keeper) = gate();
            let handler = move || async move {
                let rest = futures::stream::once(async {
                    gate.pass().await;
                    Ok("the rest")
                });
                let first = futures::stream::iter([Ok::<_, std::convert::Infallible>("1")]);
                let body = Body::from_stream(futures::StreamExt::chain(first, rest));
                let mut response = http::Response::new(body);
                if let Some(length) = declared {
                    let length = http::HeaderValue::from_static(length);
                    response.headers_mut().insert("content-length", length);
                }
                response
            };
            let app = Router::new().route("/", get(handler)).layer(rig.layer());
            let mut server = serve(app).await;
            let mut caller = Caller::connect(server.address, protocol).await;
            let request = caller.request(Method::GET, &rig.asking("/"));
            let mut body = caller.send(request).await.unwrap().into_body();
            assert_eq!(next_text(&mut body).await, "1");
            keeper.arrival().await;
            drop(body);
            caller.leave().await;
            server.let_go.next().await;
            keeper.open();
            assert_eq!(rig.receiver.next().await.body, "1the rest");
            rig.expect_delivered().await;
        }
    }
}
