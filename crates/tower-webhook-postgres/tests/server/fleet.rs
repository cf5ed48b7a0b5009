//! A limit by host over several processes.

use std::{collections::HashMap, time::Duration};

use futures_util::future::join_all;
use tokio::time::timeout;
use tower_webhook::{
    endpoint::Host,
    outbox::{DueDeliveries, LeasedDelivery, Outbox, Verdict, Want},
};
use tower_webhook_postgres::PostgresOutbox;

use crate::{
    deliveries::{new, settle},
    support::{
        place::{self, Place},
        scene::{PATIENCE, until},
        server::Server,
    },
};

const LIMIT: usize = 3;

async fn open(place: &Place) -> PostgresOutbox {
    let builder = place.builder().with_max_leased_per_host(LIMIT);
    builder.open().await.unwrap()
}

/// Inserts so many for each host; all ask for a lease.
async fn put(outbox: &PostgresOutbox, number: usize, hosts: &[&str]) {
    for host in hosts {
        let batch = (0..number).map(|_| new(host, "done", true)).collect();
        let leases = outbox.insert(batch).await.unwrap();
        assert!(
            leases.iter().all(Option::is_none),
            "it would not be counted"
        );
    }
}

async fn fetch(outbox: &PostgresOutbox) -> Vec<LeasedDelivery> {
    let DueDeliveries { deliveries, .. } = outbox.fetch(Want::up_to(100)).await.unwrap();
    deliveries
}

fn by_host(deliveries: &[LeasedDelivery]) -> HashMap<&str, usize> {
    let mut numbers = HashMap::new();
    for one in deliveries {
        *numbers.entry(one.stored.host.as_str()).or_default() += 1;
    }
    numbers
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_share_the_limit_of_a_host_and_others_go_on() {
    let Some(place) = place::place() else { return };
    let (one, other) = (open(&place).await, open(&place).await);
    put(&one, 10, &["a.example"]).await;
    put(&one, 2, &["b.example"]).await;
    let first = fetch(&one).await;
    assert_eq!(
        by_host(&first),
        HashMap::from([("a.example", 3), ("b.example", 2)])
    );
    assert!(fetch(&other).await.is_empty());

    // However many wait for the host at its limit.
    put(&one, 1, &["c.example"]).await;
    assert_eq!(
        by_host(&fetch(&other).await),
        HashMap::from([("c.example", 1)])
    );

    // What one gives up, another one takes.
    let of_a = first
        .iter()
        .find(|one| one.stored.host.as_str() == "a.example");
    settle(&one, of_a.unwrap().lease, Verdict::Delivered).await;
    assert_eq!(
        by_host(&fetch(&other).await),
        HashMap::from([("a.example", 1)])
    );
    one.close().await.unwrap();
    assert_eq!(by_host(&fetch(&other).await)["a.example"], 2);
}

/// However they race.
#[tokio::test(flavor = "multi_thread")]
async fn the_limit_holds_when_all_fetch_at_once() {
    let Some(place) = place::place() else { return };
    the_limit_holds(&place).await;
}

/// A claim has to see what the one before has leased.
#[tokio::test(flavor = "multi_thread")]
async fn the_limit_holds_whatever_isolation_is_the_default() {
    let serializable = Server::start(&["default_transaction_isolation=serializable"]);
    let Some(server) = serializable else { return };
    let place = server.place();
    the_limit_holds(&place).await;
    let outbox = open(&place).await;
    let sql = place.sql().await;
    sql.batch_execute(
        "CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN ASSERT current_setting(''transaction_isolation'') = ''read committed''; RETURN NULL; END';
         CREATE TRIGGER look AFTER INSERT OR UPDATE ON delivery EXECUTE FUNCTION look()",
    )
    .await
    .unwrap();
    put(&outbox, 1, &["a.example"]).await;
    assert_eq!(fetch(&outbox).await.len(), 1);
}

async fn the_limit_holds(place: &Place) {
    let outboxes = join_all((0..4).map(|_| open(place))).await;
    let hosts = ["a.example", "b.example", "c.example"];
    put(&outboxes[0], 20, &hosts).await;
    let mut delivered = 0;
    while delivered < 20 * hosts.len() {
        let fetched = outboxes.iter().map(fetch);
        let fetched = join_all(fetched).await;
        let all: Vec<_> = fetched.iter().flatten().cloned().collect();
        assert!(
            by_host(&all).values().all(|number| *number <= LIMIT),
            "{:?}",
            by_host(&all)
        );
        assert!(!all.is_empty());
        for (outbox, fetched) in outboxes.iter().zip(&fetched) {
            for one in fetched {
                settle(outbox, one.lease, Verdict::Delivered).await;
            }
        }
        delivered += all.len();
    }
}

/// Nobody tells a process that a lease of another one has ended.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_room_is_asked_for_again_soon() {
    let Some(place) = place::place() else { return };
    let outbox = open(&place).await;
    put(&outbox, LIMIT + 1, &["a.example"]).await;
    let leased = fetch(&outbox).await;
    assert_eq!(leased.len(), LIMIT);
    let none = outbox.fetch(Want::up_to(100)).await.unwrap();
    assert!(none.deliveries.is_empty() && none.more);
    assert!(none.next_due.unwrap() <= Duration::from_millis(100));

    for one in &leased {
        settle(&outbox, one.lease, Verdict::Delivered).await;
    }
    let last = outbox.fetch(Want::up_to(100)).await.unwrap();
    assert_eq!(last.deliveries.len(), 1);
    assert!(!last.more && last.next_due.is_none());
}

/// A host that this process does not want waits for this process, and not for room of others.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_host_that_nobody_wants_is_not_asked_for_again_soon() {
    let Some(place) = place::place() else { return };
    let outbox = open(&place).await;
    put(&outbox, LIMIT + 2, &["dead.example", "b.example"]).await;
    let mut want = Want::up_to(100);
    want.of_host.insert(Host::from("dead.example"), 1);
    want.of_host.insert(Host::from("b.example"), 1);
    let due = outbox.fetch(want.clone()).await.unwrap();
    assert_eq!(due.deliveries.len(), 2);
    assert!(due.more && due.next_due.is_none(), "{:?}", due.next_due);
    for number in [0, 1] {
        want.of_host.insert(Host::from("dead.example"), 0);
        want.of_host.insert(Host::from("b.example"), number);
        let due = outbox.fetch(want.clone()).await.unwrap();
        assert_eq!(due.deliveries.len(), number);
        assert!(due.more && due.next_due.is_none(), "{:?}", due.next_due);
    }
    // Now others could make room for it.
    want.of_host.insert(Host::from("b.example"), 2);
    let due = outbox.fetch(want).await.unwrap();
    assert_eq!(due.deliveries.len(), 1);
    assert!(due.next_due.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn outboxes_of_one_database_do_not_wait_for_each_other() {
    let Some(place) = place::place() else { return };
    let Some(other) = place::place() else { return };
    let builder = place.builder().with_max_leased_per_host(LIMIT);
    let one = builder.with_timeout(2 * PATIENCE).open().await.unwrap();
    let other = open(&other).await;
    for outbox in [&one, &other] {
        put(outbox, 1, &["a.example"]).await;
    }
    // A claim of the first one waits at its rows, with the lock of their host.
    let sql = place.sql().await;
    sql.batch_execute(
        "SELECT pg_advisory_lock(1);
         CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NEW; END';
         CREATE TRIGGER wait BEFORE UPDATE ON delivery FOR EACH ROW WHEN (NEW.state = 'leased')
             EXECUTE FUNCTION wait()",
    )
    .await
    .unwrap();
    let held_up = tokio::spawn(async move { fetch(&one).await.len() });
    let watching = place.sql().await;
    until(async || {
        let waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
                         AND classid = 0 AND objid = 1";
        let row = watching.query_one(waits, &[]).await.unwrap();
        row.get::<_, i64>(0) > 0
    })
    .await;
    let fetched = timeout(PATIENCE, fetch(&other)).await;
    assert_eq!(fetched.expect("it waits for nobody").len(), 1);
    sql.batch_execute("SELECT pg_advisory_unlock(1)")
        .await
        .unwrap();
    assert_eq!(held_up.await.unwrap(), 1);
}
