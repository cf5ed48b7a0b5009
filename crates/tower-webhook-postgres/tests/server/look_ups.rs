//! Look-ups of single deliveries, beside lists that take long.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;
use tower_webhook::outbox::{DeliveryFilter, DeliveryRecord, Outbox, Page};
use tower_webhook_postgres::PostgresOutbox;

use crate::{
    deliveries::new,
    support::{
        place::{self, Place},
        scene::until,
    },
};

const LISTS: usize = 4;
const SOON: Duration = Duration::from_secs(5);

/// Lists of this delivery wait for a lock.
async fn have_lists_wait(place: &Place, id: &str) {
    let sql = place.sql().await;
    sql.batch_execute(&format!(
        "CREATE FUNCTION waited(id uuid) RETURNS boolean LANGUAGE plpgsql AS
             'BEGIN
                  IF id = ''{id}'' THEN PERFORM pg_advisory_xact_lock_shared(8765); END IF;
                  RETURN true;
              END';
         ALTER TABLE payload RENAME TO kept;
         CREATE VIEW payload AS SELECT * FROM kept WHERE waited(id)"
    ))
    .await
    .unwrap();
}

async fn number_waiting(place: &Place) -> i64 {
    let waiting = "locktype = 'advisory' AND objid = 8765 AND NOT granted";
    place.count("pg_locks", waiting).await
}

async fn list(outbox: &PostgresOutbox, filter: DeliveryFilter) -> Vec<DeliveryRecord> {
    outbox.list(filter, Page::first(9)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_looked_up_while_long_lists_are_read() {
    let Some(place) = place::place() else { return };
    let outbox = Arc::new(place.outbox().await);
    let (slow, other) = (new("a.example", "1", false), new("a.example", "2", false));
    let (id, request_id) = (other.stored.id, other.stored.request_id.clone());
    let slow_id = slow.stored.id;
    outbox.insert(vec![slow, other]).await.unwrap();
    have_lists_wait(&place, &slow_id.to_string()).await;
    let sql = place.sql().await;
    sql.batch_execute("SELECT pg_advisory_lock(8765)")
        .await
        .unwrap();
    let list_all = || {
        let outbox = Arc::clone(&outbox);
        tokio::spawn(async move { list(&outbox, DeliveryFilter::new()).await.len() })
    };
    let lists: Vec<_> = (0..LISTS).map(|_| list_all()).collect();
    until(async || number_waiting(&place).await == 2).await;

    let found = timeout(SOON, outbox.get(id)).await;
    assert_eq!(found.expect("it does not wait").unwrap().unwrap().id, id);
    let filter = DeliveryFilter::new().with_request_id(request_id);
    let found = timeout(SOON, list(&outbox, filter)).await;
    assert_eq!(found.expect("it does not wait").len(), 1);

    // Look-ups that take long themselves leave connections for all else.
    for _ in 0..20 {
        let outbox = Arc::clone(&outbox);
        tokio::spawn(async move { outbox.get(slow_id).await.is_ok() });
    }
    until(async || number_waiting(&place).await == 4).await;
    let oldest = timeout(SOON, outbox.oldest_due()).await;
    oldest.expect("it does not wait").unwrap();

    sql.batch_execute("SELECT pg_advisory_unlock(8765)")
        .await
        .unwrap();
    for one in lists {
        assert!(one.await.unwrap() >= 2);
    }
}
