//! The log of each step of a webhook.

use std::{convert::Infallible, io};

use axum::body::Body;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_http::trace::{DefaultMakeSpan, TraceLayer};
use tower_webhook::{EventKind, Payload, WebhookLayer, event::FailReason};

use crate::{
    Log, PATH, QUERY, SECRET, asking, expect_nothing_secret, log,
    support::{
        caller::{BOTH, Caller},
        clock::Clock,
        receiver::Receiver,
        rig::Rig,
        server::serve,
    },
};

async fn call(rig: &Rig, request: Request<()>) {
    call_through(&rig.layer(), request).await;
}

async fn call_through(layer: &WebhookLayer, request: Request<()>) {
    let handler = service_fn(async |_| Ok::<_, Infallible>(Response::new(Body::from("done"))));
    let response = layer.layer(handler).oneshot(request).await.unwrap();
    response.into_body().collect().await.unwrap();
}

#[tokio::test]
async fn a_delivery_leaves_no_secret_in_the_log() {
    let log = log();
    let mut rig = Rig::new().await;
    call(&rig, asking(&rig.receiver.url(""), "log-delivered")).await;
    let webhook = rig.receiver.next().await;
    assert!(webhook.uri.path().contains(PATH) && webhook.uri.query().unwrap().contains(QUERY));
    rig.expect_delivered().await;
    let about = log.about("log-delivered");
    for step in ["webhook accepted", "delivery queued", ": delivered "] {
        assert!(
            about.iter().any(|line| line.contains(step)),
            "{step}: {about:#?}"
        );
    }
    assert!(
        log.text().contains(": hyper_util::client"),
        "the client's own log is part of it"
    );
    expect_nothing_secret(&log.text());
}

#[tokio::test(start_paused = true)]
async fn a_last_failure_is_one_error_and_leaves_no_secret() {
    let log = log();
    let failing = service_fn(async |_: Request<Payload>| -> io::Result<Response<Body>> {
        Err(io::Error::other("the client's own error"))
    });
    let mut rig = Rig::with(|builder| builder.with_client(failing)).await;
    call(&rig, asking("https://receiver.example.com", "log-dead")).await;
    assert!(matches!(
        rig.only_end().await,
        EventKind::Dead { attempts: 3, .. }
    ));
    expect_one_error(log, "log-dead", "delivery failed for good");
    let warnings = log.about("log-dead");
    let warnings = warnings.iter().filter(|line| line.contains(" WARN "));
    assert_eq!(
        warnings.count(),
        2,
        "an attempt that is not the last is a warning"
    );
    expect_nothing_secret(&log.text());
}

fn expect_one_error(log: &Log, id: &str, words: &str) {
    let about = log.about(id);
    let errors: Vec<_> = about
        .iter()
        .filter(|line| line.contains("ERROR "))
        .collect();
    assert!(
        matches!(&errors[..], [error] if error.contains(words)),
        "{errors:#?}"
    );
}

#[tokio::test]
async fn each_way_to_fail_is_one_error_at_most_and_leaves_no_secret() {
    let log = log();
    let refusing = Receiver::answering(|_| StatusCode::FORBIDDEN).await;
    let mut rig = Rig::towards(refusing, |builder| builder.with_body_limit(2));
    let url = rig.receiver.url("");
    call(&rig, asking(&url, "log-too-large")).await;
    assert!(matches!(
        rig.only_end().await,
        EventKind::Dead { attempts: 1, .. }
    ));
    expect_one_error(log, "log-too-large", "delivery failed for good");
    let about = log.about("log-too-large");
    let has_warned = |line: &String| line.contains(" WARN ") && line.contains("a failure notice");
    assert!(about.iter().any(has_warned), "{about:#?}");

    let mut rig = Rig::with(|builder| builder.with_body_limit(2)).await;
    let url = rig.receiver.url("");
    let layer = rig.layer().without_failure_notices();
    call_through(&layer, asking(&url, "log-untold")).await;
    let failed = EventKind::Failed(FailReason::BodyTooLarge);
    assert_eq!(rig.only_end().await, failed);
    assert!(rig.receiver.rest().is_empty());
    expect_one_error(log, "log-untold", "no delivery");

    let refusing = Receiver::answering(|_| StatusCode::FORBIDDEN).await;
    let mut rig = Rig::towards(refusing, |builder| builder);
    let url = rig.receiver.url("");
    call(&rig, asking(&url, "log-refused-by-receiver")).await;
    assert!(matches!(
        rig.only_end().await,
        EventKind::Dead { attempts: 1, .. }
    ));
    expect_one_error(log, "log-refused-by-receiver", "delivery failed for good");

    // Shut down by now, or never acceptable.
    call(&rig, asking(&url, "log-no-room")).await;
    call(&rig, asking("http://[::1", "log-unreadable")).await;
    call(&rig, asking("ftp://127.0.0.1", "log-scheme")).await;
    expect_nothing_secret(&log.text());
}

#[tokio::test]
async fn endpoints_that_give_no_answer_leave_no_secret_in_the_log() {
    let clock = Clock::stop();
    let log = log();
    let plain = Receiver::start().await;
    let tls_to_plain_http = plain.url("").replace("http:", "https:");
    let bound = tokio::net::TcpSocket::new_v4().unwrap();
    bound.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let refusing = format!("http://{}", bound.local_addr().unwrap());
    for (url, id) in [(tls_to_plain_http, "log-tls"), (refusing, "log-refused")] {
        let mut rig = Rig::new().await;
        call(&rig, asking(&url, id)).await;
        while rig.events.attempted().await.1 {
            clock.to_the_next_attempt().await;
        }
        assert!(matches!(
            rig.only_end().await,
            EventKind::Dead { attempts: 3, .. }
        ));
        expect_one_error(log, id, "delivery failed for good");
    }
    expect_nothing_secret(&log.text());
}

/// A server's own crates log before this crate sees the request; they show neither its target nor
/// its headers.
#[tokio::test]
async fn requests_over_sockets() {
    let log = log();
    for protocol in BOTH {
        let mut rig = Rig::new().await;
        let handler = service_fn(async |_| Ok::<_, Infallible>(Response::new(Body::from("done"))));
        let server = serve(ServiceBuilder::new().layer(rig.layer()).service(handler)).await;
        let mut caller = Caller::connect(server.address, protocol).await;
        let target = rig.asking("/") + &format!("/{PATH}?token={QUERY}");
        let mut request = caller.request(http::Method::GET, &target);
        request
            .headers_mut()
            .insert("x-webhook-secret", SECRET.parse().unwrap());
        caller.call(request).await;
        rig.receiver.next().await;
        rig.expect_delivered().await;
    }
    assert!(
        log.text().contains(" h2::"),
        "the server's own log is part of it"
    );
    expect_nothing_secret(&log.text());
}

#[tokio::test]
async fn a_layer_inside_that_logs_headers_does_not_show_the_secret() {
    const OTHER_SECRET: &str = "psst-psst-psst";
    let log = log();
    let mut rig = Rig::new().await;
    let trace =
        TraceLayer::new_for_http().make_span_with(DefaultMakeSpan::new().include_headers(true));
    let handler = service_fn(async |_| {
        tracing::info!("the handler runs");
        Ok::<_, Infallible>(Response::new(Body::from("done")))
    });
    let service = ServiceBuilder::new()
        .layer(rig.layer())
        .layer(trace)
        .service(handler);
    let request = Request::get(rig.asking("/"))
        .header("x-webhook-secret", OTHER_SECRET)
        .body(Body::empty())
        .unwrap();
    service
        .oneshot(request)
        .await
        .unwrap()
        .into_body()
        .collect()
        .await
        .unwrap();
    rig.expect_delivered().await;
    let text = log.text();
    let shown = text
        .lines()
        .find(|line| line.contains("the handler runs"))
        .unwrap();
    assert!(
        shown.contains(r#""x-webhook-secret": Sensitive"#),
        "{shown}"
    );
    assert!(!text.contains(OTHER_SECRET));
}
