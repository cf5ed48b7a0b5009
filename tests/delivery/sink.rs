//! A sink in the outbox's place: what it is given, and what its troubles do to the caller.

use std::{
    convert::Infallible,
    future::{Future, pending},
    io,
    pin::pin,
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use futures::{StreamExt, poll, stream};
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::{sync::mpsc, task::yield_now, time::Instant};
use tower::{Layer, ServiceExt, service_fn};
use tower_webhook::{
    Delivery, EventKind, WebhookLayer, dispatch::DispatcherBuilder, event::FailReason,
    layer::ResponseBody,
};

use crate::{
    call::{asking, call},
    support::{
        gate::{Gate, gate},
        rig::Rig,
    },
};

const URL: &str = "https://receiver.example.com/hook?token=1";

/// A dispatcher with this sink.
async fn rig_with<F>(sink: impl Fn(Delivery) -> F + Clone + Send + Sync + 'static) -> Rig
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    Rig::with_built(|builder: DispatcherBuilder| builder.with_sink(service_fn(sink)).build()).await
}

/// Two frames without a declared length.
fn streamed() -> Response<Body> {
    let frames = ["one,", "two"].map(|frame| Ok::<_, Infallible>(Bytes::from(frame)));
    Response::new(Body::from_stream(stream::iter(frames)))
}

#[tokio::test]
async fn it_is_given_the_delivery() {
    let (note, mut noted) = mpsc::unbounded_channel();
    let mut rig = rig_with(move |delivery| {
        note.send(delivery).unwrap();
        async { Ok(()) }
    })
    .await;
    let mut response = streamed();
    response
        .headers_mut()
        .insert("content-type", "a/b".parse().unwrap());
    response
        .headers_mut()
        .insert("set-cookie", "c".parse().unwrap());
    let request = asking(URL)
        .header("x-request-id", "run-1")
        .header("x-webhook-secret", "s");
    assert_eq!(call(rig.layer(), request, response).await, "one,two");
    let delivery = noted.recv().await.unwrap();
    assert_eq!(delivery.request_id().as_str(), "run-1");
    assert_eq!(delivery.endpoint().to_url_string(), URL);
    assert_eq!(delivery.secret().unwrap().expose(), b"s");
    assert_eq!(delivery.status(), Some(http::StatusCode::OK));
    assert_eq!(delivery.payload().to_bytes(), "one,two");
    let [(name, value)] = delivery.headers() else {
        panic!("{:?}", delivery.headers());
    };
    assert_eq!(
        (name.as_str(), value.as_bytes()),
        ("content-type", &b"a/b"[..])
    );
    drop(delivery);
    assert_eq!(rig.only_end().await, EventKind::HandedOver);
}

#[tokio::test]
async fn its_failure_does_not_show() {
    let mut rig = rig_with(|_| async { Err(io::Error::other("the disk is full")) }).await;
    assert_eq!(call(rig.layer(), asking(URL), streamed()).await, "one,two");
    rig.expect_failed(FailReason::OutboxFailed).await;
}

#[tokio::test]
async fn its_panic_does_not_show() {
    let mut rig = rig_with(|_| async { panic!("on purpose") }).await;
    assert_eq!(call(rig.layer(), asking(URL), streamed()).await, "one,two");
    rig.expect_failed(FailReason::OutboxFailed).await;

    let at_once = |_| -> std::future::Ready<io::Result<()>> { panic!("on purpose") };
    let mut rig = rig_with(at_once).await;
    assert_eq!(call(rig.layer(), asking(URL), streamed()).await, "one,two");
    rig.expect_failed(FailReason::OutboxFailed).await;
}

#[tokio::test(start_paused = true)]
async fn it_is_waited_for_five_seconds() {
    let mut rig = rig_with(|_| pending()).await;
    let started = Instant::now();
    assert_eq!(call(rig.layer(), asking(URL), streamed()).await, "one,two");
    assert_eq!(started.elapsed().as_secs(), 5);
    rig.expect_failed(FailReason::OutboxFailed).await;

    let mut rig = Rig::with_built(|builder| {
        let stuck = service_fn(|_: Delivery| pending::<io::Result<()>>());
        let builder = builder.with_accept_timeout(Duration::from_secs(60));
        builder.with_sink(stuck).build()
    })
    .await;
    let started = Instant::now();
    // Complete with its head, which is then what is held back.
    assert_eq!(
        call(rig.layer(), asking(URL), Response::default()).await,
        ""
    );
    assert_eq!(started.elapsed().as_secs(), 60);
    rig.expect_failed(FailReason::OutboxFailed).await;
}

async fn gated(gate: Gate) -> Rig {
    rig_with(move |_| {
        let gate = gate.clone();
        async {
            gate.pass().await;
            Ok(())
        }
    })
    .await
}

/// The body of a response of two frames, of which the first one was read.
async fn after_one_frame(layer: WebhookLayer) -> ResponseBody<Body> {
    let handler = service_fn(async |_: Request<()>| Ok::<_, Infallible>("onetwo".to_owned()))
        .map_response(|text: String| {
            let frames = [text[..3].to_owned(), text[3..].to_owned()];
            let frames = stream::iter(frames.map(Ok::<_, Infallible>));
            // Not at once: otherwise the head would wait with them.
            let frames = frames.then(async |frame| {
                yield_now().await;
                frame
            });
            let mut response = Response::new(Body::from_stream(frames));
            response.headers_mut().insert("content-length", 6.into());
            response
        });
    let request = asking(URL).body(()).unwrap();
    let mut body = layer
        .layer(handler)
        .oneshot(request)
        .await
        .unwrap()
        .into_body();
    let first = body.frame().await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), "one");
    body
}

#[tokio::test]
async fn the_last_frame_waits_for_it() {
    let (gate, mut keeper) = gate();
    let mut rig = gated(gate).await;
    let mut body = after_one_frame(rig.layer()).await;
    {
        let mut last = pin!(body.frame());
        assert!(poll!(&mut last).is_pending());
        assert!(poll!(&mut last).is_pending());
        keeper.arrival().await;
        assert!(poll!(&mut last).is_pending());
    }
    assert!(!body.is_end_stream());
    assert_eq!(body.size_hint().lower(), 3);
    keeper.open();
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "two"
    );
    assert!(body.frame().await.is_none());
    assert_eq!(rig.only_end().await, EventKind::HandedOver);
}

/// The response was complete: there is nothing left to cancel.
#[tokio::test]
async fn a_caller_that_leaves_while_the_last_frame_waits_takes_nothing_away() {
    for cancels in [false, true] {
        let (gate, mut keeper) = gate();
        let mut rig = gated(gate).await;
        let layer = match cancels {
            true => rig.layer().with_cancel_on_disconnect(),
            false => rig.layer(),
        };
        let mut body = after_one_frame(layer).await;
        for _ in 0..2 {
            assert!(poll!(pin!(body.frame())).is_pending());
        }
        keeper.arrival().await;
        drop(body);
        keeper.open();
        assert_eq!(rig.only_end().await, EventKind::HandedOver, "{cancels}");
    }
}
