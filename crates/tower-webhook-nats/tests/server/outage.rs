//! The server is away for a while, or answers late.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::sleep;
use tower_webhook::outbox::{NewDelivery, Outbox};

use crate::{
    scene::{jetstream, messages, put, stored, until},
    support::{builder, fresh_name, server::Server},
};

/// What the client keeps for the next connection would fill the memory, and come as a duplicate.
#[tokio::test]
async fn what_fails_during_an_outage_is_not_sent_after_it() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let name = fresh_name();
    let timeout = Duration::from_secs(2);
    let outbox = builder(&server.address(), &name).with_timeout(timeout);
    let outbox = outbox.connect().await.unwrap();
    let insert = async || {
        let new = NewDelivery::new(stored("a.example", "done"), false);
        outbox.insert(vec![new]).await
    };
    server.kill();
    // The client may not have seen the end of the connection before the first one.
    insert().await.unwrap_err();
    let inserted = join_all((0..200).map(|_| insert())).await;
    assert!(inserted.iter().all(Result::is_err));
    server.restart();
    until(async || insert().await.is_ok()).await;
    let context = jetstream(&server.address()).await;
    let kept = messages(&context, &name).await;
    assert!(kept <= 2, "{kept} messages of 1 that was taken");
}

/// A batch has longer than one delivery.
#[tokio::test]
async fn a_large_batch_is_taken_by_a_server_that_answers_late() {
    let Some(server) = Server::start() else {
        return;
    };
    let timeout = Duration::from_secs(2);
    let outbox = builder(&server.address(), &fresh_name()).with_timeout(timeout);
    let outbox = outbox.connect().await.unwrap();
    server.signal("STOP");
    let (put, ()) = tokio::join!(put(&outbox, 6_000, "a.example"), async {
        sleep(timeout * 3 / 2).await;
        server.signal("CONT");
    });
    assert_eq!(put.len(), 6_000);
}
