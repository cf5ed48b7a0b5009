//! What an outbox in memory knows of calls that run.

use std::time::Duration;

use axum::{Router, routing::get};
use http::{Method, StatusCode};
use tower_webhook::{
    Dispatcher, EventKind, WebhookLayer,
    event::FailReason,
    outbox::{DeliveryFilter, DeliveryRecord, DeliveryState, Page},
};

use crate::support::{
    caller::{BOTH, Caller},
    gate::{Keeper, gate},
    rig::Rig,
    server::{Server, serve},
};

async fn only_record(dispatcher: &Dispatcher) -> DeliveryRecord {
    let all = DeliveryFilter::new();
    let found = dispatcher.deliveries(&all, Page::first(9)).await.unwrap();
    let [record] = &found[..] else {
        panic!("{found:?}")
    };
    record.clone()
}

/// A call that was promised an answer, and waits at a gate in its handler.
async fn call(rig: &Rig, layer: WebhookLayer) -> (Server, Keeper) {
    let (gate, keeper) = gate();
    let handler = || async {
        gate.pass().await;
        "done"
    };
    let app = Router::new().route("/", get(handler));
    let server = serve(app.layer(layer.with_async_requests())).await;
    let mut caller = Caller::connect(server.address, BOTH[0]).await;
    let target = format!("{}&async=true", rig.asking("/"));
    let answer = caller.call(caller.request(Method::GET, &target)).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    (server, keeper)
}

#[tokio::test]
async fn a_call_is_listed_while_it_runs_and_afterwards() {
    let mut rig = Rig::new().await;
    let (_server, mut keeper) = call(&rig, rig.layer()).await;
    keeper.arrival().await;
    let running = only_record(&rig.dispatcher).await;
    assert_eq!(running.state, DeliveryState::Running);
    assert_eq!((running.failure, running.status), (None, None));
    assert_eq!(
        rig.dispatcher.cancel(&DeliveryFilter::new()).await.unwrap(),
        0
    );
    keeper.open();
    assert_eq!(rig.receiver.next().await.body, "done");
    rig.expect_delivered().await;
    let ended = only_record(&rig.dispatcher).await;
    assert_eq!(
        (ended.state, ended.id),
        (DeliveryState::Delivered, running.id)
    );
    assert_eq!(ended.status, Some(StatusCode::OK));
}

#[tokio::test]
async fn a_call_that_fails_is_listed_as_failed_whether_it_is_told_of_or_not() {
    for is_told in [true, false] {
        let mut rig = Rig::new().await;
        let mut layer = rig.layer().with_run_limit(Duration::from_millis(1));
        if !is_told {
            layer = layer.without_failure_notices();
        }
        let (_server, _keeper) = call(&rig, layer).await;
        match is_told {
            true => rig.expect_failed(FailReason::TimedOut).await,
            false => drop(rig.events.end().await),
        }
        let record = only_record(&rig.dispatcher).await;
        assert_eq!(record.state, DeliveryState::Failed);
        assert_eq!(record.failure, Some(FailReason::TimedOut));
        assert_eq!(record.attempts.len(), usize::from(is_told));
        assert!(!rig.dispatcher.redeliver(record.id).await.unwrap());
    }
}

/// What would be told of a run is lost with the process, and is no second end of its webhook.
#[tokio::test]
async fn a_run_that_outlasts_a_shutdown_ends_once() {
    let mut rig = Rig::new().await;
    let (_server, mut keeper) = call(&rig, rig.layer()).await;
    keeper.arrival().await;
    let report = rig.dispatcher.shutdown(Duration::ZERO).await;
    assert_eq!((report.abandoned.len(), report.unfinished), (0, 1));
    keeper.open();
    assert_eq!(*rig.events.end().await.kind(), EventKind::Abandoned);
    assert!(rig.events.rest().iter().all(|event| !event.is_final()));
}
