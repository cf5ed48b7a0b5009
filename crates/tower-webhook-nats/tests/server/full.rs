//! A server that has no room for what is to be written.

use std::time::Duration;

use async_nats::jetstream::{Context, stream::DiscardPolicy};
use tower_webhook::outbox::Verdict;

use crate::{
    scene::{fetch, ids, jetstream, leases, messages, put, settle},
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
    settle(&outbox, &leases(&found), Verdict::Delivered).await;
    assert_eq!(messages(&context, &name).await, 0);
}
