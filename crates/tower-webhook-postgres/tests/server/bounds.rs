//! Retention of history and dead letters, and changes to many rows.

use tower_webhook::{
    DeliveryId,
    event::Outcome,
    outbox::{DeliveryFilter, DeliveryState, Outbox, Verdict},
};
use tower_webhook_postgres::PostgresOutbox;

use crate::{
    deliveries::{put_leased, settle},
    support::{place, scene::until, server::Server},
};

fn dead() -> Verdict {
    Verdict::Dead(Outcome::answered(http::StatusCode::NOT_FOUND, None))
}

async fn end(outbox: &PostgresOutbox, number: usize, payload: &str, verdict: Verdict) {
    for _ in 0..number {
        let lease = put_leased(outbox, "a.example", payload).await;
        settle(outbox, lease, verdict).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn history_keeps_to_its_number_and_the_oldest_go_first() {
    let Some(place) = place::place() else { return };
    let outbox = place.builder().with_max_history(5).open().await.unwrap();
    end(&outbox, 12, "done", Verdict::Delivered).await;
    until(async || place.count("history", "TRUE").await == 5).await;
    let sql = place.sql().await;
    let row = sql
        .query_one("SELECT min(n), max(n) FROM history", &[])
        .await
        .unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (8, 12));
}

#[tokio::test(flavor = "multi_thread")]
async fn history_keeps_to_its_bytes() {
    let Some(place) = place::place() else { return };
    let builder = place.builder().with_history_payloads();
    let outbox = builder.with_max_history_bytes(50_000).open().await.unwrap();
    end(&outbox, 12, &"x".repeat(10_000), Verdict::Delivered).await;
    let sum = "(SELECT sum(bytes) FROM history) <= 50000";
    until(async || place.count("history", sum).await == 4).await;
    // A payload larger than the whole limit is not kept, but its record is.
    end(&outbox, 1, &"x".repeat(60_000), Verdict::Delivered).await;
    assert_eq!(place.count("history", "body IS NULL").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_kept_long_enough_goes() {
    let Some(place) = place::place() else { return };
    let outbox = place.outbox().await;
    end(&outbox, 600, "done", Verdict::Delivered).await;
    end(&outbox, 3, "done", dead()).await;
    drop(outbox);
    let sql = place.sql().await;
    sql.batch_execute(
        "UPDATE history SET ended_at = now() - interval '25 hours' WHERE n <= 599;
         UPDATE delivery SET died_at = now() - interval '31 days'
         WHERE id IN (SELECT id FROM delivery ORDER BY id LIMIT 2)",
    )
    .await
    .unwrap();
    let _outbox = place.outbox().await;
    until(async || place.count("history", "TRUE").await == 1).await;
    until(async || place.count("delivery", "state = 'dead'").await == 1).await;
    assert_eq!(place.count("payload", "TRUE").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_keep_to_their_number_and_bytes() {
    let Some(place) = place::place() else { return };
    let builder = place.builder().with_max_dead_letters(10);
    let outbox = builder
        .with_max_dead_letter_bytes(5_000)
        .open()
        .await
        .unwrap();
    end(&outbox, 20, "", dead()).await;
    until(async || place.count("delivery", "TRUE").await == 10).await;
    end(&outbox, 9, &"x".repeat(1_000), dead()).await;
    until(async || place.count("delivery", "payload_len > 0").await == 5).await;
}

/// More rows than one batch has.
#[tokio::test(flavor = "multi_thread")]
async fn very_many_are_redelivered_and_cancelled() {
    const MANY: usize = 5_000;
    let Some(place) = place::place() else { return };
    let outbox = place.outbox().await;
    let sql = place.sql().await;
    let fill = format!(
        "INSERT INTO delivery (id, request_id, state, host, payload_len, accepted_at, due_at, died_at)
         SELECT gen_random_uuid(), 'a', 'dead', 'h' || n % 2, 1, now(), now(), now()
         FROM generate_series(1, {MANY}) AS n;
         INSERT INTO payload SELECT id, '', 'x' FROM delivery"
    );
    sql.batch_execute(&fill).await.unwrap();
    let half = DeliveryFilter::new().with_endpoint_host("h1");
    assert_eq!(outbox.redeliver(half.clone()).await.unwrap(), MANY / 2);
    assert_eq!(
        place.count("delivery", "state = 'waiting'").await,
        MANY as i64 / 2
    );
    assert_eq!(outbox.cancel(half).await.unwrap(), MANY / 2);
    let dead = DeliveryFilter::new().with_state(DeliveryState::Dead);
    assert_eq!(outbox.redeliver(dead).await.unwrap(), MANY / 2);
    let all = DeliveryFilter::new();
    assert_eq!(outbox.cancel(all).await.unwrap(), MANY / 2);
    assert_eq!(place.count("payload", "TRUE").await, 0);
}

/// Whoever asks whether the outbox can be written redelivers what nobody has.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_named_is_written_for_also_where_there_is_nothing() {
    let Some(server) = Server::start(&[]) else {
        return;
    };
    let place = server.place();
    let nobodys = DeliveryFilter::new().with_id(DeliveryId::fresh());
    let outbox = place.outbox().await;
    assert_eq!(outbox.redeliver(nobodys.clone()).await.unwrap(), 0);
    outbox.close().await.unwrap();
    let sql = place.sql().await;
    let read_only = "ALTER ROLE postgres SET default_transaction_read_only = on";
    sql.batch_execute(read_only).await.unwrap();
    let outbox = place.builder().without_migrations().open().await.unwrap();
    assert!(outbox.redeliver(nobodys).await.is_err());
}
