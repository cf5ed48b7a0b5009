//! End to end: from a call through the layer to its webhook.

use std::time::Duration;

use http::StatusCode;
use tower_webhook::{
    Dispatcher, RetryPolicy,
    outbox::{DeliveryFilter, DeliveryState, Page},
};

use crate::support::{
    place::{self, Place},
    pooler::Pooler,
    scene::{Receiver, SECRET, call, dispatcher, until},
    server::Server,
};

async fn delivers(place: &Place) {
    let receiver = Receiver::start(200).await;
    let dispatcher = dispatcher().with_outbox(place.outbox().await).build();
    let answered = call(&dispatcher, "first", &receiver.url()).await;
    assert_eq!(answered, StatusCode::OK);
    let posts = receiver.gets(1).await;
    assert_eq!(posts[0].body, "the result of first");
    assert!(posts[0].signed);
    let all = DeliveryFilter::new();
    until(async || {
        let found = dispatcher.deliveries(&all, Page::first(9)).await.unwrap();
        matches!(&found[..], [one] if one.state == DeliveryState::Delivered)
    })
    .await;
    dispatcher.shutdown(Duration::from_secs(5)).await;
    assert_eq!(place.count("delivery", "TRUE").await, 0);
    assert_eq!(place.count("payload", "TRUE").await, 0);
    assert_eq!(place.count("history", "body IS NULL").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_delivered_and_becomes_history() {
    let Some(place) = place::place() else { return };
    delivers(&place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_delivered_through_a_pooler() {
    let Some(server) = Server::start(&[]) else {
        return;
    };
    let Some(pooler) = Pooler::start(&server) else {
        return;
    };
    let place = Place {
        url: pooler.url(),
        ..server.place()
    };
    let receiver = Receiver::start(200).await;
    let dispatcher = dispatcher().with_outbox(place.outbox().await).build();
    for number in 0..50 {
        call(&dispatcher, &format!("run-{number}"), &receiver.url()).await;
    }
    let posts = receiver.gets(50).await;
    assert!(posts.iter().all(|post| post.signed));
    dispatcher.shutdown(Duration::from_secs(5)).await;
}

/// Leaves deliveries that are due and had one attempt.
async fn leave(place: &Place, receiver: &Receiver, number: usize) {
    let dispatcher = dispatcher()
        .with_outbox(place.outbox().await)
        .with_retry_policy(RetryPolicy::standard_webhooks())
        .build();
    for number in 0..number {
        call(&dispatcher, &format!("run-{number}"), &receiver.url()).await;
    }
    let waiting = "state = 'waiting' AND attempt = 2";
    until(async || place.count("delivery", waiting).await == number as i64).await;
    dispatcher.shutdown(Duration::from_secs(5)).await;
    let sql = place.sql().await;
    let due = "UPDATE delivery SET due_at = now()";
    sql.batch_execute(due).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_process_leaves_the_next_one_delivers() {
    let Some(place) = place::place() else { return };
    let receiver = Receiver::start(500).await;
    leave(&place, &receiver, 5).await;
    receiver.answer(200);
    let second = dispatcher().with_outbox(place.outbox().await).build();
    second.start();
    let posts = receiver.gets(10).await;
    for post in &posts[5..] {
        assert_eq!((post.attempt, post.signed), (2, true));
    }
    second.shutdown(Duration::from_secs(5)).await;
}

/// Two dispatchers on one schema: each delivery is attempted once, by one of them.
#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_what_is_due() {
    const MANY: usize = 200;
    let Some(place) = place::place() else { return };
    let receiver = Receiver::start(500).await;
    leave(&place, &receiver, MANY).await;
    receiver.answer(200);
    let open = async || {
        let dispatcher = dispatcher().with_outbox(place.outbox().await);
        dispatcher.with_max_attempts(2).build()
    };
    let both = [open().await, open().await];
    both.iter().for_each(Dispatcher::start);
    receiver.gets(2 * MANY).await;
    for dispatcher in both {
        dispatcher.shutdown(Duration::from_secs(10)).await;
    }
    assert_eq!(receiver.posts().len(), 2 * MANY);
    assert_eq!(place.count("history", "TRUE").await, MANY as i64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_nowhere_in_the_database() {
    let Some(place) = place::place() else { return };
    let receiver = Receiver::start(500).await;
    let dispatcher = dispatcher()
        .with_outbox(
            place
                .builder()
                .with_history_payloads()
                .open()
                .await
                .unwrap(),
        )
        .with_retry_policy(RetryPolicy::standard_webhooks())
        .build();
    call(&dispatcher, "sealed", &receiver.url()).await;
    receiver.gets(1).await;
    until(async || place.count("delivery", "attempt = 2").await == 1).await;
    let sql = place.sql().await;
    let query =
        "SELECT d::text || encode(p.envelope, 'escape') FROM delivery d JOIN payload p USING (id)";
    let row = sql.query_one(query, &[]).await.unwrap();
    let text: &str = row.get(0);
    assert!(text.contains("sealed"));
    assert!(!text.contains(SECRET) && !text.contains("/hook"), "{text}");
    dispatcher.shutdown(Duration::ZERO).await;
}

/// Write access to the database does not suffice to have something else signed and sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_row_dies_unsent() {
    for change in [
        "UPDATE payload SET body = 'another result'",
        "UPDATE payload SET envelope = substr(envelope, 1, octet_length(envelope) - 1)",
        "UPDATE payload SET envelope = ''",
        "DELETE FROM payload",
    ] {
        let Some(place) = place::place() else { return };
        let receiver = Receiver::start(500).await;
        leave(&place, &receiver, 1).await;
        let sql = place.sql().await;
        sql.batch_execute(change).await.unwrap();
        let second = dispatcher().with_outbox(place.outbox().await).build();
        second.start();
        until(async || place.count("delivery", "state = 'dead'").await == 1).await;
        assert_eq!(receiver.posts().len(), 1, "{change}");
        second.shutdown(Duration::from_secs(5)).await;
    }
}
