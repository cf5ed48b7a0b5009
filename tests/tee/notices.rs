//! Each way in which an accepted webhook can fail gives one notice, or one silence that is documented.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use axum::body::Body;
use futures::{FutureExt, StreamExt, stream};
use http::{Method, Request, Response, StatusCode, header::CONTENT_LENGTH};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::Notify;
use tower::{Layer, ServiceExt, service_fn};
use tower_webhook::{
    BoxError, EventKind, Verifier, WebhookLayer, dispatch::DispatcherBuilder, event::FailReason,
    outbox::SealingKey,
};
use tower_webhook_sqlite::SqliteOutbox;

use crate::support::{
    caller::{BOTH, Caller, Protocol},
    rig::Rig,
    server::serve,
    soon,
};

const SECRET: &str = "a-value-of-your-choice";

/// What the service does.
#[derive(Clone, Copy)]
enum Service {
    Answers(fn() -> Response<Body>),
    Fails,
    Panics,
    /// Until its caller has left.
    Waits,
}

/// One row: how a webhook comes to this end.
struct Row {
    service: Service,
    dispatcher: fn(DispatcherBuilder) -> DispatcherBuilder,
    layer: fn(WebhookLayer) -> WebhookLayer,
    /// On a notice: the status of the response, where there was one.
    status: Option<&'static str>,
}

fn row(reason: FailReason) -> Option<Row> {
    let row = Row {
        service: Service::Answers(|| Response::new(Body::from("done"))),
        dispatcher: |builder| builder,
        layer: |layer| layer,
        status: Some("200"),
    };
    Some(match reason {
        FailReason::BodyTooLarge => Row {
            dispatcher: |builder| builder.with_body_limit(3),
            ..row
        },
        FailReason::BodyFailed => Row {
            service: Service::Answers(|| {
                let frames = [Ok("one,"), Err(io::Error::other("it failed"))];
                Response::new(Body::from_stream(stream::iter(frames)))
            }),
            ..row
        },
        FailReason::LengthMismatch => Row {
            service: Service::Answers(|| {
                let frames = stream::iter([Ok::<_, Infallible>("one,")]);
                let mut response = Response::new(Body::from_stream(frames));
                response.headers_mut().insert(CONTENT_LENGTH, 9.into());
                response
            }),
            ..row
        },
        FailReason::ServiceFailed => Row {
            service: Service::Fails,
            status: None,
            ..row
        },
        FailReason::Panicked => Row {
            service: Service::Panics,
            status: None,
            ..row
        },
        FailReason::CallerLeft => Row {
            service: Service::Waits,
            layer: WebhookLayer::with_cancel_on_disconnect,
            ..row
        },
        FailReason::Upgraded => Row {
            service: Service::Answers(|| {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                response
            }),
            ..row
        },
        FailReason::StatusNotForwarded => Row {
            layer: |layer| layer.with_forwarded_statuses(|status| status.is_server_error()),
            ..row
        },
        FailReason::TimedOut => Row {
            service: Service::Waits,
            layer: |layer| layer.with_run_limit(Duration::from_millis(1)),
            status: None,
            ..row
        },
        FailReason::NoRoom => Row {
            service: Service::Answers(|| Response::new(Body::from(vec![b'x'; 1 << 20]))),
            dispatcher: |builder| builder.with_memory_budget(512 << 10),
            ..row
        },
        FailReason::OutboxFailed => Row {
            dispatcher: |builder| {
                let takes_none = async |_| Err::<(), BoxError>("not now".into());
                builder.with_sink(service_fn(move |delivery| takes_none(delivery).boxed()))
            },
            ..row
        },
        // The process ends first: not in a test of one process.
        _ => return None,
    })
}

async fn fails(reason: FailReason, row: Row, protocol: Protocol, in_file: bool) {
    println!("{reason:?} over {protocol:?}, in a file: {in_file}");
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::with(|builder| {
        let builder = match in_file {
            true => {
                let file = folder.path().join("webhooks.db");
                let key = SealingKey::from_bytes([7; 32]);
                builder.with_outbox(SqliteOutbox::open(file, key).unwrap())
            }
            false => builder,
        };
        (row.dispatcher)(builder)
    })
    .await;
    let arrived = Arc::new(Notify::new());
    let has_arrived = Arc::clone(&arrived);
    let service = service_fn(move |_: Request<Incoming>| {
        let arrived = Arc::clone(&has_arrived);
        async move {
            arrived.notify_one();
            match row.service {
                Service::Answers(answer) => Ok(answer()),
                Service::Fails => Err(io::Error::other("it failed")),
                Service::Panics => panic!("on purpose"),
                Service::Waits => std::future::pending().await,
            }
        }
    });
    let mut server = serve((row.layer)(rig.layer()).layer(service)).await;
    let mut caller = Caller::connect(server.address, protocol).await;
    let mut request = caller.request(Method::GET, &rig.asking("/"));
    let headers = request.headers_mut();
    headers.insert("x-webhook-secret", SECRET.parse().unwrap());
    headers.insert("x-request-id", "run-1".parse().unwrap());
    let answer = caller.send(request);
    soon("the call", arrived.notified()).await;
    if let Service::Waits = row.service {
        caller.leave().await;
        server.let_go.next().await;
    } else if let Ok(response) = answer.await {
        // What the caller gets is none of the notice's business.
        let _ = soon("the body", response.into_body().collect()).await;
    }
    if !reason.is_told() {
        return rig.expect_failed(reason).await;
    }
    let notice = rig.receiver.next().await;
    let verified = Verifier::new(SECRET).verify(&notice.headers, &notice.body);
    assert!(verified.is_ok(), "{verified:?}");
    let status = notice.headers.get("x-webhook-response-status");
    assert_eq!(status.map(|status| status.to_str().unwrap()), row.status);
    assert_eq!(notice.header("x-webhook-failure"), reason.name());
    assert_eq!(notice.header("content-type"), "application/problem+json");
    let problem: serde_json::Value = serde_json::from_slice(&notice.body).unwrap();
    assert_eq!(problem["run_id"], "run-1");
    assert_eq!(problem["title"], reason.to_string());
    rig.expect_delivered().await;
    assert!(rig.receiver.rest().is_empty(), "told twice");
}

#[tokio::test]
async fn each_failure_is_told_once_or_is_silent() {
    for &reason in FailReason::ALL {
        for protocol in BOTH {
            for in_file in [false, true] {
                if let Some(row) = row(reason) {
                    fails(reason, row, protocol, in_file).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_service_that_panics_when_it_is_called_is_told_of() {
    let mut rig = Rig::new().await;
    let service = service_fn(|request: Request<()>| {
        assert_eq!(request.uri().path(), "", "on purpose");
        std::future::ready(Ok::<_, Infallible>(Response::new(Body::empty())))
    });
    let service = rig.layer().layer(service);
    let request = Request::get(rig.asking("/")).body(()).unwrap();
    let call = std::panic::AssertUnwindSafe(service.oneshot(request));
    assert!(call.catch_unwind().await.is_err());
    rig.expect_failed(FailReason::Panicked).await;
}

/// The notice of a body that broke off comes while its caller still reads what it got.
#[tokio::test]
async fn a_notice_waits_for_no_caller() {
    let mut rig = Rig::with(|builder| builder.with_body_limit(3)).await;
    let service = service_fn(|_: Request<()>| async {
        let frames = stream::iter([Ok::<_, Infallible>("one,")]).chain(stream::pending());
        Ok::<_, Infallible>(Response::new(Body::from_stream(frames)))
    });
    let request = Request::get(rig.asking("/")).body(()).unwrap();
    let response = rig.layer().layer(service).oneshot(request).await.unwrap();
    let mut body = response.into_body();
    body.frame().await.unwrap().unwrap();
    let notice = rig.receiver.next().await;
    assert_eq!(notice.header("x-webhook-failure"), "body-too-large");
    rig.expect_delivered().await;
}

#[tokio::test]
async fn notices_can_be_turned_off() {
    let mut rig = Rig::with(|builder| builder.with_body_limit(3)).await;
    let service = service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(Response::new(Body::from("done")))
    });
    let layer = rig.layer().without_failure_notices();
    let request = Request::get(rig.asking("/")).body(()).unwrap();
    let response = layer.layer(service).oneshot(request).await.unwrap();
    response.into_body().collect().await.unwrap();
    let failed = EventKind::Failed(FailReason::BodyTooLarge);
    assert_eq!(rig.only_end().await, failed);
    assert!(rig.receiver.rest().is_empty());
}
