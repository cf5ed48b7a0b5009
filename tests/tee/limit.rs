//! A body over the limit goes to the caller and nowhere else.

use axum::{Router, body::Body, routing::get};
use bytes::Bytes;
use futures::stream;
use tower_webhook::event::FailReason;

use crate::support::{
    caller::{BOTH, Caller},
    rig::Rig,
    server::serve,
};

const LIMIT: usize = 1_000;

fn app() -> Router {
    let streamed = |count| {
        let frames =
            (0..count).map(|_| Ok::<_, std::convert::Infallible>(Bytes::from(vec![b'x'; 100])));
        Body::from_stream(stream::iter(frames))
    };
    Router::new()
        .route("/streamed", get(move || async move { streamed(11) }))
        .route("/declared", get(|| async { "x".repeat(LIMIT + 100) }))
        .route("/fits", get(move || async move { streamed(10) }))
}

#[tokio::test]
async fn a_body_over_the_limit_is_not_sent() {
    for protocol in BOTH {
        for path in ["/streamed", "/declared"] {
            let mut rig = Rig::with(|builder| builder.with_body_limit(LIMIT)).await;
            let server = serve(app().layer(rig.layer())).await;
            let mut caller = Caller::connect(server.address, protocol).await;
            let answer = caller.get(&rig.asking(path)).await;
            assert_eq!(answer.body.len(), LIMIT + 100, "{path}");
            rig.expect_failed(FailReason::BodyTooLarge).await;
        }
    }
}

#[tokio::test]
async fn a_body_of_the_limit_is_sent() {
    let mut rig = Rig::with(|builder| builder.with_body_limit(LIMIT)).await;
    let server = serve(app().layer(rig.layer())).await;
    let mut caller = Caller::connect(server.address, BOTH[0]).await;
    assert_eq!(caller.get(&rig.asking("/fits")).await.body.len(), LIMIT);
    assert_eq!(rig.receiver.next().await.body.len(), LIMIT);
    rig.expect_delivered().await;
}

#[tokio::test]
async fn a_status_that_is_not_forwarded_is_not_sent() {
    let mut rig = Rig::new().await;
    let layer = rig
        .layer()
        .with_forwarded_statuses(|status| !status.is_success());
    let server = serve(app().layer(layer)).await;
    let mut caller = Caller::connect(server.address, BOTH[0]).await;
    assert_eq!(caller.get(&rig.asking("/fits")).await.body.len(), LIMIT);
    rig.expect_failed(FailReason::StatusNotForwarded).await;
}
