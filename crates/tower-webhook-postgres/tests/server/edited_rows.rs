//! Rows that somebody has edited by hand.

use std::time::Duration;

use tower_webhook::outbox::{DeliveryFilter, Outbox, Page, Want};
use tower_webhook_postgres::PostgresOutbox;

use crate::{
    deliveries::{new, put_leased},
    support::{
        place::{self, Place},
        scene::until,
    },
};

async fn edit(place: &Place, update: &str) {
    place.sql().await.batch_execute(update).await.unwrap();
}

async fn put(outbox: &PostgresOutbox) {
    let one = new("a.example", "done", false);
    outbox.insert(vec![one]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absurd_length_does_not_keep_others_from_being_trimmed() {
    let Some(place) = place::place() else { return };
    drop(place.outbox().await);
    edit(
        &place,
        "INSERT INTO delivery (id, request_id, state, host, payload_len, accepted_at, due_at, died_at)
         SELECT gen_random_uuid(), 'a', 'dead', 'a.example', 1, now(), now(), now() + n * interval '1 ms'
         FROM generate_series(1, 20) AS n;
         UPDATE delivery SET payload_len = 9223372036854775807
             WHERE id IN (SELECT id FROM delivery ORDER BY died_at LIMIT 2 OFFSET 17);
         INSERT INTO history (id, request_id, host, payload_len, accepted_at, ended_at, attempts, envelope, bytes)
         SELECT gen_random_uuid(), 'a', 'a.example', 1, now(), now(), '', '', 9223372036854775807
         FROM generate_series(1, 2)",
    )
    .await;
    let builder = place.builder().with_max_dead_letters(10);
    let builder = builder.with_max_history(1).with_max_history_bytes(1 << 40);
    let _outbox = builder.open().await.unwrap();
    until(async || place.count("delivery", "TRUE").await == 10).await;
    until(async || place.count("history", "TRUE").await == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_without_its_time_is_trimmed_as_well() {
    let Some(place) = place::place() else { return };
    let outbox = place.outbox().await;
    for _ in 0..5 {
        put(&outbox).await;
    }
    drop(outbox);
    edit(&place, "UPDATE delivery SET state = 'dead'").await;
    let builder = place.builder().with_max_dead_letters(2);
    let _outbox = builder.open().await.unwrap();
    until(async || place.count("delivery", "TRUE").await == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leased_row_without_an_end_of_its_lease_is_freed() {
    let Some(place) = place::place() else { return };
    let lease = Duration::from_secs(2);
    let outbox = place.builder().with_lease(lease).open().await.unwrap();
    put_leased(&outbox, "a.example", "done").await;
    edit(&place, "UPDATE delivery SET leased_until = NULL").await;
    until(async || {
        let due = outbox.fetch(Want::up_to(9)).await.unwrap();
        due.deliveries.len() == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_due_at_no_time_keeps_no_other_from_being_fetched() {
    let Some(place) = place::place() else { return };
    let outbox = place.outbox().await;
    put(&outbox).await;
    edit(&place, "UPDATE delivery SET due_at = 'infinity'").await;
    let due = outbox.fetch(Want::up_to(9)).await.unwrap();
    assert!(due.deliveries.is_empty() && !due.more && due.next_due.is_none());
    put(&outbox).await;
    assert_eq!(
        outbox.fetch(Want::up_to(9)).await.unwrap().deliveries.len(),
        1
    );
    // One that is due later is still told of.
    put(&outbox).await;
    edit(
        &place,
        "UPDATE delivery SET due_at = now() + interval '1 h' WHERE due_at < 'infinity'",
    )
    .await;
    assert!(
        outbox
            .fetch(Want::up_to(9))
            .await
            .unwrap()
            .next_due
            .is_some()
    );
    assert_eq!(outbox.oldest_due().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_always_due_is_listed_and_fetched() {
    let Some(place) = place::place() else { return };
    let outbox = place.outbox().await;
    for time in ["infinity", "-infinity"] {
        put(&outbox).await;
        let update = format!("UPDATE delivery SET due_at = '-infinity', accepted_at = '{time}'");
        edit(&place, &update).await;
        outbox.oldest_due().await.unwrap();
        let listed = outbox.list(DeliveryFilter::new(), Page::first(9)).await;
        assert_eq!(listed.unwrap().len(), 1);
        assert_eq!(
            outbox.fetch(Want::up_to(9)).await.unwrap().deliveries.len(),
            1
        );
        edit(&place, "DELETE FROM delivery").await;
    }
}
