//! Look-ups of single deliveries, beside lists that take long.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tokio_postgres::Client;
use tower_webhook::{
    DeliveryId,
    outbox::{DeliveryFilter, DeliveryRecord, Outbox, Page},
};
use tower_webhook_postgres::{PostgresOutbox, PostgresOutboxError, PostgresOutboxErrorKind};

use crate::{
    deliveries::new,
    support::{
        place::{self, Place},
        scene::{PATIENCE, until},
    },
};

const LISTS: usize = 4;
const SOON: Duration = Duration::from_secs(5);

/// Lists of this delivery wait for a lock.
async fn have_lists_wait(place: &Place, id: &str, lock: u32) {
    let sql = place.sql().await;
    sql.batch_execute(&format!(
        "CREATE FUNCTION waited(id uuid) RETURNS boolean LANGUAGE plpgsql AS
             'BEGIN
                  IF id = ''{id}'' THEN PERFORM pg_advisory_xact_lock_shared({lock}); END IF;
                  RETURN true;
              END';
         ALTER TABLE payload RENAME TO kept;
         CREATE VIEW payload AS SELECT * FROM kept WHERE waited(id)"
    ))
    .await
    .unwrap();
}

async fn number_waiting(place: &Place, lock: u32) -> i64 {
    let waiting = format!("locktype = 'advisory' AND objid = {lock} AND NOT granted");
    place.count("pg_locks", &waiting).await
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
    have_lists_wait(&place, &slow_id.to_string(), 8_765).await;
    let sql = place.sql().await;
    sql.batch_execute("SELECT pg_advisory_lock(8765)")
        .await
        .unwrap();
    let list_all = || {
        let outbox = Arc::clone(&outbox);
        tokio::spawn(async move { list(&outbox, DeliveryFilter::new()).await.len() })
    };
    let lists: Vec<_> = (0..LISTS).map(|_| list_all()).collect();
    until(async || number_waiting(&place, 8_765).await == 2).await;

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
    until(async || number_waiting(&place, 8_765).await == 4).await;
    let oldest = timeout(SOON, outbox.oldest_due()).await;
    oldest.expect("it does not wait").unwrap();

    sql.batch_execute("SELECT pg_advisory_unlock(8765)")
        .await
        .unwrap();
    for one in lists {
        assert!(one.await.unwrap() >= 2);
    }
}

/// Lists take all the permits of long calls, until the lock is let go.
struct Blocked {
    place: Place,
    outbox: Arc<PostgresOutbox>,
    sql: Client,
    lists: Vec<JoinHandle<usize>>,
}

impl Blocked {
    async fn new(lock: u32) -> Option<Self> {
        let place = place::place()?;
        let builder = place.builder().with_timeout(PATIENCE);
        let outbox = Arc::new(builder.open().await.unwrap());
        let one = new("a.example", "1", false);
        let id = one.stored.id;
        outbox.insert(vec![one]).await.unwrap();
        have_lists_wait(&place, &id.to_string(), lock).await;
        let sql = place.sql().await;
        let hold = format!("SELECT pg_advisory_lock({lock})");
        sql.batch_execute(&hold).await.unwrap();
        let list = || {
            let outbox = Arc::clone(&outbox);
            tokio::spawn(async move { list(&outbox, DeliveryFilter::new()).await.len() })
        };
        let lists = vec![list(), list()];
        until(async || number_waiting(&place, lock).await == 2).await;
        Some(Self {
            place,
            outbox,
            sql,
            lists,
        })
    }

    async fn let_go(self, lock: u32) {
        let let_go = format!("SELECT pg_advisory_unlock({lock})");
        self.sql.batch_execute(&let_go).await.unwrap();
        for one in self.lists {
            assert_eq!(one.await.unwrap(), 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_dropped_while_it_waited_is_not_made() {
    let lock = 8_766;
    let Some(blocked) = Blocked::new(lock).await else {
        return;
    };
    let (place, outbox) = (blocked.place.clone(), Arc::clone(&blocked.outbox));
    // It is polled once.
    let cancelling = timeout(Duration::ZERO, outbox.cancel(DeliveryFilter::new()));
    assert!(cancelling.await.is_err());
    blocked.let_go(lock).await;
    // These would have come after it.
    for _ in 0..10 {
        outbox.redeliver(DeliveryFilter::new()).await.unwrap();
    }
    assert_eq!(place.count("delivery", "TRUE").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_so_many_calls_wait() {
    let lock = 8_767;
    let Some(blocked) = Blocked::new(lock).await else {
        return;
    };
    let mut lists = JoinSet::new();
    for _ in 0..1_100 {
        let outbox = Arc::clone(&blocked.outbox);
        lists.spawn(async move { outbox.list(DeliveryFilter::new(), Page::first(9)).await });
    }
    let refused = timeout(PATIENCE, lists.join_next()).await;
    let refused = refused.expect("not all can wait").unwrap().unwrap();
    let error = refused.unwrap_err();
    let error = error.downcast_ref::<PostgresOutboxError>().unwrap();
    assert_eq!(error.kind(), PostgresOutboxErrorKind::Busy);
    // Others have a queue of their own.
    let none = DeliveryFilter::new().with_id(DeliveryId::fresh());
    let cancelled = timeout(SOON, blocked.outbox.cancel(none)).await;
    assert_eq!(cancelled.expect("it does not wait").unwrap(), 0);
    lists.shutdown().await;
    blocked.let_go(lock).await;
}
