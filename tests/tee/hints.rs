//! What a response says of itself passes through: hints, extensions, headers, frames.

use std::task::{Context, Poll, Waker};

use http::Request;
use http_body::Body;
use tower::{Layer, ServiceExt, service_fn};

use crate::{
    responses::{cases, respond},
    support::rig::Rig,
};

#[derive(Clone, Debug, PartialEq)]
struct Mark(u8);

/// What a body says before a poll, what comes of it, and whether that was the last.
type Step = ((u64, Option<u64>), String, bool);

fn steps<B: Body<Data = bytes::Bytes>>(body: B) -> Vec<Step> {
    let mut body = Box::pin(body);
    let mut cx = Context::from_waker(Waker::noop());
    let mut steps = Vec::new();
    loop {
        let hint = body.size_hint();
        let frame = match body.as_mut().poll_frame(&mut cx) {
            Poll::Ready(Some(Ok(frame))) => format!("{frame:?}"),
            Poll::Ready(Some(Err(_))) => "error".to_owned(),
            Poll::Ready(None) => "end".to_owned(),
            Poll::Pending => "pending".to_owned(),
        };
        let ended = frame == "end" || frame == "error";
        steps.push(((hint.lower(), hint.upper()), frame, body.is_end_stream()));
        if ended {
            return steps;
        }
    }
}

#[tokio::test]
async fn a_body_says_the_same_of_itself_at_every_step() {
    let rig = Rig::new().await;
    for case in cases().into_iter().filter(|case| case.name != "panic") {
        let request = |target: &str| {
            let request = Request::builder().method(case.method.clone()).uri(target);
            request.body(()).unwrap()
        };
        let alone = respond(request(&case.path())).await.unwrap();
        let at_first = (
            alone.body().is_end_stream(),
            alone.body().size_hint().exact(),
        );
        let (alone_head, alone_body) = alone.into_parts();
        let alone_steps = steps(alone_body);
        for target in [case.path(), rig.asking(&case.path())] {
            let service = rig.layer().layer(service_fn(respond));
            let layered = service.oneshot(request(&target)).await.unwrap();
            let now = (
                layered.body().is_end_stream(),
                layered.body().size_hint().exact(),
            );
            assert_eq!(now, at_first, "{target}");
            let (head, body) = layered.into_parts();
            assert_eq!(
                (head.status, head.version),
                (alone_head.status, alone_head.version)
            );
            assert_eq!(head.headers, alone_head.headers, "{target}");
            assert_eq!(steps(body), alone_steps, "{target}");
        }
    }
}

#[tokio::test]
async fn extensions_pass_through() {
    let rig = Rig::new().await;
    let marking = service_fn(|request: Request<()>| async move {
        let mark = request.extensions().get::<Mark>().cloned();
        let mut response = respond(request).await?;
        response.extensions_mut().extend(
            mark.map(|mark| {
                let mut extensions = http::Extensions::new();
                extensions.insert(mark);
                extensions
            })
            .unwrap_or_default(),
        );
        Ok::<_, std::convert::Infallible>(response)
    });
    let mut request = Request::get(rig.asking("/json")).body(()).unwrap();
    request.extensions_mut().insert(Mark(7));
    let response = rig.layer().layer(marking).oneshot(request).await.unwrap();
    assert_eq!(response.extensions().get(), Some(&Mark(7)));
}
