//! A server that has no room for what is to be written.

use std::time::Duration;

use async_nats::jetstream::{Context, stream::DiscardPolicy};
use tower_webhook::{
    event::{AttemptError, Outcome},
    outbox::{Outbox, SettleOutcome, Settlement, Verdict, Want},
};

use crate::{
    scene::{fetch, ids, jetstream, leases, messages, put, put_leased},
    support::{fresh_name, open, server::Server},
};

const LEASE: Duration = Duration::from_secs(60);

async fn fill(context: &Context, name: &str, streams: &[&str]) {
    for stream in streams {
        let stream = context.get_stream(format!("{name}{stream}")).await;
        let mut config = stream.unwrap().cached_info().config.clone();
        (config.max_bytes, config.discard) = (1, DiscardPolicy::New);
        context.update_stream(config).await.unwrap();
    }
}

/// Otherwise these settlements would be tried again for ever, in the place of deliveries that make room.
#[tokio::test]
async fn what_there_is_no_room_to_write_is_attempted_once_more_and_not_at_once() {
    let Some(server) = Server::start() else {
        return;
    };
    let name = fresh_name();
    let outbox = open(&server.address(), &name, LEASE).await;
    let [again, dead] = [
        put_leased(&outbox, "a.example").await,
        put_leased(&outbox, "a.example").await,
    ];
    let context = jetstream(&server.address()).await;
    fill(&context, &name, &["-attempts", "-dead"]).await;
    let failed = Outcome::Failed(AttemptError::Client);
    let batch = vec![
        Settlement::new(again, Verdict::AgainIn(Duration::ZERO), None),
        Settlement::new(dead, Verdict::Dead(failed), None),
    ];
    let settled = outbox.settle(batch).await.unwrap();
    // The other one is not given up: nobody is told that it is.
    assert_eq!(settled, [SettleOutcome::Done, SettleOutcome::LeaseLost]);
    let due = outbox.fetch(Want::up_to(2)).await.unwrap();
    assert!(due.deliveries.is_empty(), "attempted without end");
    assert_eq!(messages(&context, &name).await, 2);
    // With the consumer goes what it knew of delays.
    let stream = context.get_stream(&name).await.unwrap();
    stream.delete_consumer("deliver").await.unwrap();
    let found = fetch(&outbox, 2).await;
    assert_eq!(ids(&found), [again.delivery, dead.delivery].into());
    assert!(found.iter().all(|one| one.attempt == 1));
}

/// What makes room again is a process that delivers.
#[tokio::test]
async fn a_process_starts_and_delivers_what_waits() {
    let Some(server) = Server::start() else {
        return;
    };
    let (address, name) = (server.address(), fresh_name());
    let outbox = open(&address, &name, LEASE).await;
    let all = put(&outbox, 3, "a.example").await;
    drop(outbox);
    let context = jetstream(&address).await;
    fill(&context, &name, &["", "-attempts", "-dead"]).await;
    let outbox = open(&address, &name, LEASE).await;
    let found = fetch(&outbox, 3).await;
    assert_eq!(ids(&found), all);
    crate::scene::settle(&outbox, &leases(&found), Verdict::Delivered).await;
    assert_eq!(messages(&context, &name).await, 0);
}
