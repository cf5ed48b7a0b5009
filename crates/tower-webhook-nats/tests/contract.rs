//! The contract suite of tower-webhook, against a server of the test's own.

mod support;

use std::time::Duration;

use support::{builder, fresh_name, open, server::Server};
use tower_webhook::testing;

const LEASE: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract() {
    let Some(server) = Server::start() else {
        return;
    };
    let address = server.address();
    testing::check(async || open(&address, &fresh_name(), LEASE).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract_of_shared_outboxes() {
    let Some(server) = Server::start() else {
        return;
    };
    let address = server.address();
    let make = async || fresh_name();
    testing::check_shared(make, async |name| open(&address, name, LEASE).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract_without_sealing() {
    let Some(server) = Server::start() else {
        return;
    };
    let address = server.address();
    testing::check(async || {
        let builder = builder(&address, &fresh_name())
            .with_lease(LEASE)
            .with_timeout(Duration::from_secs(20));
        builder.with_insecure_plaintext().connect().await.unwrap()
    })
    .await;
}
