//! A limit by host over several processes.

use std::collections::HashMap;

use tower_webhook::outbox::{DueDeliveries, LeasedDelivery, Outbox, Verdict, Want};
use tower_webhook_postgres::PostgresOutbox;

use crate::{
    deliveries::{new, settle},
    support::place::{self, Place},
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
    let mut outboxes = Vec::new();
    for _ in 0..4 {
        outboxes.push(open(&place).await);
    }
    let hosts = ["a.example", "b.example", "c.example"];
    put(&outboxes[0], 20, &hosts).await;
    let mut delivered = 0;
    while delivered < 20 * hosts.len() {
        let fetched = outboxes.iter().map(fetch);
        let fetched = futures_util::future::join_all(fetched).await;
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
