//! The contract suite of tower-webhook, against a real server.

mod support;

use std::time::Duration;

use tower_webhook::testing;
use tower_webhook_postgres::PostgresOutbox;

use crate::support::{
    place::Place,
    pooler::Pooler,
    server::{self, Server},
};

const LEASE: Duration = Duration::from_secs(1);

async fn open(place: &Place) -> PostgresOutbox {
    place.builder().with_lease(LEASE).open().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract() {
    let Some(server) = server::shared() else {
        return;
    };
    testing::check(async || open(&server.place()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract_of_shared_outboxes() {
    let Some(server) = server::shared() else {
        return;
    };
    testing::check_shared(async || server.place(), async |place| open(place).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract_with_payloads_in_its_history() {
    let Some(server) = server::shared() else {
        return;
    };
    testing::check(async || {
        let builder = server.place().builder().with_lease(LEASE);
        builder.with_history_payloads().open().await.unwrap()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract_without_sealing() {
    let Some(server) = server::shared() else {
        return;
    };
    testing::check(async || {
        let builder = PostgresOutbox::builder(&server.url()).with_insecure_plaintext();
        let builder = builder.with_schema(server.place().schema);
        builder.with_lease(LEASE).open().await.unwrap()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract_on_one_connection() {
    let Some(server) = server::shared() else {
        return;
    };
    testing::check(async || {
        let builder = server.place().builder().with_lease(LEASE);
        builder.with_max_connections(1).open().await.unwrap()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract_through_a_pooler_in_transaction_mode() {
    let Some(server) = Server::start(&[]) else {
        return;
    };
    let Some(pooler) = Pooler::start(&server) else {
        return;
    };
    let place = || Place {
        url: pooler.url(),
        ..server.place()
    };
    testing::check(async || open(&place()).await).await;
    testing::check_shared(async || place(), async |place| open(place).await).await;
}
