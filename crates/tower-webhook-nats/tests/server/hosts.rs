//! Messages of several hosts in one stream, of which some get nothing.

use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use tower_webhook::{
    endpoint::Host,
    outbox::{Outbox, Want},
};

use crate::{
    scene::{jetstream, put, until},
    support::{fresh_name, open, server::Server},
};

const LEASE: Duration = Duration::from_secs(60);

/// What is looked at in search of other hosts is bounded, and not what a host with permits gets.
#[tokio::test]
async fn a_few_messages_of_a_dead_host_do_not_stop_a_backlog() {
    let Some(server) = Server::start() else {
        return;
    };
    let (address, name) = (server.address(), fresh_name());
    let outbox = open(&address, &name, LEASE).await;
    put(&outbox, 10, "dead.example").await;
    put(&outbox, 1_000, "busy.example").await;
    let stream = jetstream(&address).await.get_stream(&name).await.unwrap();
    let consumer: PullConsumer = stream.get_consumer("deliver").await.unwrap();
    until(async || consumer.get_info().await.unwrap().num_pending == 1_010).await;
    let mut want = Want::up_to(64);
    want.of_host.insert(Host::from("dead.example"), 0);
    let mut of_calls = Vec::new();
    for _ in 0..10 {
        let due = outbox.fetch(want.clone()).await.unwrap();
        of_calls.push(due.deliveries.len());
    }
    assert_eq!(of_calls, [64; 10]);
}
