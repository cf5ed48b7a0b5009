//! An operator deletes what the outbox has created.

use std::time::Duration;

use tower_webhook::{
    event::{AttemptError, Outcome},
    outbox::{Outbox, SettleOutcome, Settlement, Verdict},
};

use crate::{
    scene::{fetch, ids, jetstream, leases, messages, put, put_leased, settle, until},
    support::{fresh_name, open, server::Server},
};

const LEASE: Duration = Duration::from_secs(60);

/// With the consumer goes what it knew of leases; the deliveries are in the stream.
#[tokio::test]
async fn a_consumer_that_was_deleted_is_created_anew() {
    let Some(server) = Server::start() else {
        return;
    };
    let name = fresh_name();
    let outbox = open(&server.address(), &name, LEASE).await;
    let all = put(&outbox, 10, "a.example").await;
    let context = jetstream(&server.address()).await;
    let stream = context.get_stream(&name).await.unwrap();
    stream.delete_consumer("deliver").await.unwrap();
    let found = fetch(&outbox, 10).await;
    assert_eq!(ids(&found), all);
    settle(&outbox, &leases(&found), Verdict::Delivered).await;
    assert_eq!(messages(&context, &name).await, 0);
}

/// What is to be written there would be tried for ever, and hold up all that ends after it.
#[tokio::test]
async fn streams_that_were_deleted_are_created_anew() {
    let Some(server) = Server::start() else {
        return;
    };
    let name = fresh_name();
    let outbox = open(&server.address(), &name, LEASE).await;
    let lease = put_leased(&outbox, "a.example").await;
    let context = jetstream(&server.address()).await;
    let settled = async |lease, verdict| {
        until(async || {
            let settlement = Settlement::new(lease, verdict, None);
            let settled = outbox.settle(vec![settlement]).await;
            settled.is_ok_and(|settled| settled == [SettleOutcome::Done])
        })
        .await;
    };
    for stream in ["attempts", "dead"] {
        let deleted = context.delete_stream(format!("{name}-{stream}")).await;
        deleted.unwrap();
    }
    settled(lease, Verdict::AgainIn(Duration::ZERO)).await;
    let again = fetch(&outbox, 1).await;
    assert_eq!(again[0].attempt, 2);
    for stream in ["attempts", "dead"] {
        assert!(
            context
                .delete_stream(format!("{name}-{stream}"))
                .await
                .is_ok()
        );
    }
    let dead = Verdict::Dead(Outcome::Failed(AttemptError::Client));
    settled(again[0].lease, dead).await;
    assert_eq!(messages(&context, &format!("{name}-dead")).await, 1);
    // The deliveries go with theirs, and those that come later are taken.
    context.delete_stream(&name).await.unwrap();
    let new = || {
        tower_webhook::outbox::NewDelivery::new(crate::scene::stored("a.example", "done"), false)
    };
    until(async || outbox.insert(vec![new()]).await.is_ok()).await;
}
