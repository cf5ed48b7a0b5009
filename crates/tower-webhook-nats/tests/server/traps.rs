//! What JetStream does that an outbox must not be caught by.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use async_nats::jetstream::consumer::PullConsumer;
use tower_webhook::{
    DeliveryId, Payload,
    endpoint::Host,
    event::{AttemptError, Outcome},
    outbox::{NewDelivery, Outbox, SettleOutcome, Settlement, Verdict, Want},
};

use crate::{
    scene::{fetch, ids, jetstream, leases, messages, put, put_leased, settle, stored, until},
    support::{fresh_name, open, server::Server},
};

const LEASE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// A consumer takes 1,000 that are not acknowledged, unless it is told otherwise, and delayed ones count.
#[tokio::test]
async fn delayed_deliveries_keep_no_others_out() {
    let Some(server) = Server::start() else {
        return;
    };
    let outbox = open(&server.address(), &fresh_name(), LEASE).await;
    put(&outbox, 1_200, "failing.example").await;
    let failing = fetch(&outbox, 1_200).await;
    settle(&outbox, &leases(&failing), Verdict::AgainIn(HOUR)).await;
    let healthy = put(&outbox, 10, "healthy.example").await;
    assert_eq!(ids(&fetch(&outbox, 10).await), healthy);
}

/// What was handed back comes again after a delay, and a host with a permit has to wait for none of that.
#[tokio::test]
async fn what_is_pulled_beyond_the_limit_of_a_host_is_there_when_it_has_room() {
    let Some(server) = Server::start() else {
        return;
    };
    let name = fresh_name();
    let outbox = open(&server.address(), &name, LEASE).await;
    put(&outbox, 200, "a.example").await;
    let mut want = Want::up_to(200);
    want.of_other_hosts = 50;
    // Nothing was inserted for a lease: what waits has come to the consumer by and by.
    let first = fetch(&outbox, 1).await;
    assert_eq!(first.len(), 1);
    let mut of_calls = Vec::new();
    for _ in 0..2 {
        let due = outbox.fetch(want.clone()).await.unwrap();
        assert!(due.more);
        of_calls.push(due.deliveries.len());
        settle(&outbox, &leases(&due.deliveries), Verdict::Delivered).await;
    }
    assert_eq!(of_calls, [50, 50]);
    // It is all handed back when the outbox is closed: nobody waits for the lease.
    outbox.close().await.unwrap();
    let other = open(&server.address(), &name, LEASE).await;
    let began = Instant::now();
    assert_eq!(fetch(&other, 99).await.len(), 99);
    assert!(began.elapsed() < LEASE / 2, "{:?}", began.elapsed());
}

/// Asked again at once, it would be asked for one after the other until nothing has room.
#[tokio::test]
async fn whoever_has_all_that_was_wanted_is_not_told_to_ask_again() {
    let Some(server) = Server::start() else {
        return;
    };
    let outbox = open(&server.address(), &fresh_name(), LEASE).await;
    put(&outbox, 300, "a.example").await;
    assert_eq!(fetch(&outbox, 1).await.len(), 1);
    let due = outbox.fetch(Want::up_to(5)).await.unwrap();
    assert_eq!(due.deliveries.len(), 5);
    assert!(due.more);
    assert_eq!(due.next_due, None);
    // There may be something else behind what is parked.
    let mut want = Want::up_to(5);
    want.of_other_hosts = 0;
    until(async || {
        let due = outbox.fetch(want.clone()).await.unwrap();
        assert!(due.deliveries.is_empty() && due.more);
        due.next_due.is_some()
    })
    .await;
}

#[tokio::test]
async fn a_delivery_that_is_published_twice_is_there_once() {
    let Some(server) = Server::start() else {
        return;
    };
    let name = fresh_name();
    let outbox = open(&server.address(), &name, LEASE).await;
    let one = stored("a.example", "done");
    for _ in 0..3 {
        let new = NewDelivery::new(one.clone(), false);
        assert_eq!(outbox.insert(vec![new]).await.unwrap(), [None]);
    }
    let context = jetstream(&server.address()).await;
    assert_eq!(messages(&context, &name).await, 1);
}

#[tokio::test]
async fn a_dead_letter_is_in_a_stream_of_its_own() {
    let Some(server) = Server::start() else {
        return;
    };
    let name = fresh_name();
    let outbox = open(&server.address(), &name, LEASE).await;
    let lease = put_leased(&outbox, "a.example").await;
    settle(&outbox, &[lease], Verdict::AgainIn(Duration::ZERO)).await;
    let again = fetch(&outbox, 1).await;
    assert_eq!(again[0].attempt, 2);
    let failed = Outcome::Failed(AttemptError::Client);
    settle(&outbox, &leases(&again), Verdict::Dead(failed)).await;
    let context = jetstream(&server.address()).await;
    assert_eq!(messages(&context, &name).await, 0);
    let dead = context.get_stream(format!("{name}-dead")).await.unwrap();
    let letter = dead.get_raw_message(1).await.unwrap();
    assert_eq!(letter.payload, "done");
    let header = |name: &str| letter.headers.get(name).unwrap().to_string();
    assert_eq!(header("Webhook-Delivery-Id"), lease.delivery.to_string());
    assert_eq!(header("Webhook-Host"), "a.example");
    assert_eq!(header("Webhook-Attempts"), "2");
    assert_eq!(header("Webhook-Outcome-Error"), AttemptError::Client.name());
    // Its attempts are forgotten in a moment.
    let attempts = format!("{name}-attempts");
    until(async || messages(&context, &attempts).await == 0).await;
}

/// An operator may purge a stream. Settled again and again, it would hold up all that ends after it.
#[tokio::test]
async fn what_was_purged_is_no_dead_letter_and_holds_nothing_up() {
    let Some(server) = Server::start() else {
        return;
    };
    let name = fresh_name();
    let outbox = open(&server.address(), &name, LEASE).await;
    let lease = put_leased(&outbox, "a.example").await;
    let context = jetstream(&server.address()).await;
    let stream = context.get_stream(&name).await.unwrap();
    stream.purge().await.unwrap();
    let dead = Verdict::Dead(Outcome::Failed(AttemptError::Client));
    let settled = outbox
        .settle(vec![Settlement::new(lease, dead, None)])
        .await;
    assert_eq!(settled.unwrap(), [SettleOutcome::LeaseLost]);
    assert_eq!(messages(&context, &format!("{name}-dead")).await, 0);
}

#[tokio::test]
async fn what_is_no_delivery_becomes_a_dead_letter() {
    let Some(server) = Server::start() else {
        return;
    };
    let name = fresh_name();
    let outbox = open(&server.address(), &name, LEASE).await;
    let context = jetstream(&server.address()).await;
    let published = context
        .publish(format!("{name}.due"), "nonsense".into())
        .await;
    published.unwrap().await.unwrap();
    let good = put(&outbox, 1, "a.example").await;
    assert_eq!(ids(&fetch(&outbox, 1).await), good);
    until(async || messages(&context, &format!("{name}-dead")).await > 0).await;
}

/// It has no room for a header more, and the server counts its subjects besides.
#[tokio::test]
async fn the_largest_message_that_is_no_delivery_is_in_nobodys_way() {
    let Some(server) = Server::start() else {
        return;
    };
    let name = fresh_name();
    let outbox = open(&server.address(), &name, LEASE).await;
    let context = jetstream(&server.address()).await;
    let nonsense = vec![b'x'; context.client().max_payload()];
    let published = context.publish(format!("{name}.due"), nonsense.into());
    published.await.unwrap().await.unwrap();
    let good = put(&outbox, 1, "a.example").await;
    assert_eq!(ids(&fetch(&outbox, 1).await), good);
    until(async || messages(&context, &format!("{name}-dead")).await > 0).await;
    until(async || messages(&context, &name).await == 1).await;
}

/// What is fetched ahead would burn its lease.
#[tokio::test]
async fn nothing_is_pulled_that_is_not_wanted() {
    let Some(server) = Server::start() else {
        return;
    };
    let name = fresh_name();
    let outbox = open(&server.address(), &name, LEASE).await;
    put(&outbox, 100, "a.example").await;
    fetch(&outbox, 7).await;
    let context = jetstream(&server.address()).await;
    let stream = context.get_stream(&name).await.unwrap();
    let consumer: PullConsumer = stream.get_consumer("deliver").await.unwrap();
    assert_eq!(consumer.cached_info().num_ack_pending, 7);
}

#[tokio::test]
async fn what_is_parked_comes_once_its_host_has_room() {
    let Some(server) = Server::start() else {
        return;
    };
    let outbox = open(&server.address(), &fresh_name(), LEASE).await;
    let parked = put(&outbox, 50, "busy.example").await;
    let healthy = put(&outbox, 1, "healthy.example").await;
    let mut want = Want::up_to(5);
    want.of_host.insert(Host::from("busy.example"), 0);
    let due = outbox.fetch(want).await.unwrap();
    assert_eq!(ids(&due.deliveries), healthy);
    assert!(due.more);
    let found = fetch(&outbox, 50).await;
    assert_eq!(ids(&found), parked);
    assert!(found.iter().all(|one| one.attempt == 1));
}

#[tokio::test]
async fn the_largest_payload_is_taken() {
    let Some(server) = Server::start() else {
        return;
    };
    let outbox = open(&server.address(), &fresh_name(), LEASE).await;
    let size = outbox.limits().max_payload.unwrap();
    let large = stored(
        "a.example",
        Payload::from(vec![bytes::Bytes::from(vec![7; size])]),
    );
    outbox
        .insert(vec![NewDelivery::new(large, false)])
        .await
        .unwrap();
    let found = fetch(&outbox, 1).await;
    assert_eq!(found[0].stored.payload.len(), size);
}

#[tokio::test]
async fn calls_come_from_runtimes_that_end() {
    let Some(server) = Server::start() else {
        return;
    };
    let address = server.address();
    let outbox = open(&address, &fresh_name(), LEASE).await;
    let outbox = std::sync::Arc::new(outbox);
    let mut all: HashSet<DeliveryId> = HashSet::new();
    for _ in 0..3 {
        let outbox = std::sync::Arc::clone(&outbox);
        let put = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            runtime.unwrap().block_on(put(&outbox, 5, "a.example"))
        });
        all.extend(put.join().unwrap());
    }
    assert_eq!(ids(&fetch(&outbox, 15).await), all);
}
