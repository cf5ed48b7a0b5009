use std::{collections::HashSet, time::Duration};

use futures::FutureExt;
use tokio::time::timeout;

use super::{builder, count, delivery, folder, ids, many_segments, open, settle, sql};
use crate::{
    Host,
    outbox::{Claim, Demand, Source, Verdict},
};

#[tokio::test]
async fn a_delivery_comes_back_as_it_was() {
    let folder = folder();
    let mut outbox = open(builder(&folder));
    outbox
        .put(delivery("a", "a.example", many_segments()))
        .await
        .unwrap();
    let claims = outbox.next(9).await;
    let read = claims[0].delivery();
    assert_eq!(read.id().as_str(), "a");
    assert_eq!(read.endpoint().to_url_string(), "https://a.example/");
    assert_eq!(read.secret().unwrap().expose(), b"hush");
    assert_eq!(read.payload().to_bytes(), many_segments().to_bytes());
    assert_eq!((read.status().as_u16(), claims[0].attempt()), (200, 1));
}

#[tokio::test]
async fn next_dropped_half_way_loses_no_claim() {
    let folder = folder();
    let mut outbox = open(builder(&folder));
    for n in 0..50 {
        outbox.accept(&format!("run-{n}")).await.unwrap();
    }
    let mut found = HashSet::new();
    while found.len() < 50 {
        let patience = Duration::from_micros(fastrand::u64(0..300));
        for claim in timeout(patience, outbox.next(3)).await.unwrap_or_default() {
            found.insert(claim.delivery().id().clone());
            settle(claim, Verdict::Delivered).await.unwrap();
        }
    }
    assert_eq!(count(&folder, "TRUE"), 0);
}

#[tokio::test]
async fn a_claim_that_is_dropped_is_due_as_the_same_attempt() {
    let folder = folder();
    let mut outbox = open(builder(&folder));
    outbox.accept("a").await.unwrap();
    let claim = outbox.next(1).await.remove(0);
    settle(claim, Verdict::AgainIn(Duration::ZERO))
        .await
        .unwrap();
    for _ in 0..3 {
        let claims = outbox.next(1).await;
        assert_eq!((ids(&claims), claims[0].attempt()), (vec!["a"], 2));
    }
}

#[tokio::test]
async fn a_source_that_is_dropped_gives_back_what_it_has_claimed() {
    let folder = folder();
    let mut outbox = open(builder(&folder));
    for id in ["a", "b", "c"] {
        outbox.accept(id).await.unwrap();
    }
    let room = |_: &Host| 1;
    let one = outbox.source.next(Demand::new(9, &room)).await.unwrap();
    assert_eq!(one.len(), 1);
    drop(one);
    drop(outbox);
    super::until(|| count(&folder, "state = 'waiting'") == 3).await;
    assert_eq!(
        sql(&folder)
            .query_row("SELECT count(*) FROM owner", [], |row| row.get::<_, i64>(0))
            .unwrap(),
        0,
        "it took its leave"
    );
}

/// What a request for claims brings after the worker has ended must not lie there, claimed, for as
/// long as the process lives.
#[tokio::test]
async fn a_source_at_rest_holds_nothing() {
    let folder = folder();
    let mut outbox = open(builder(&folder));
    outbox.accept("a").await.unwrap();
    // Polled once: it has asked, and did not get an answer.
    assert!(outbox.next(9).now_or_never().is_none());
    super::until(|| count(&folder, "state = 'claimed'") == 1).await;
    outbox.source.rest();
    super::until(|| count(&folder, "state = 'waiting'") == 1).await;
    assert_eq!(ids(&outbox.next(9).await), ["a"]);
}

#[tokio::test]
async fn hosts_without_room_hold_nobody_up() {
    let folder = folder();
    let mut outbox = open(builder(&folder));
    outbox.accept("first").await.unwrap();
    let columns = "id, state, host, endpoint, status, headers, payload_len, accepted_at, due_at";
    sql(&folder)
        .execute_batch(&format!(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 3000)
             INSERT INTO delivery ({columns})
                 SELECT 's-' || n, 'waiting', 'stalled.example', 'https://stalled.example/', 200,
                     '', 0, 0, n FROM n;
             INSERT INTO payload SELECT seq, x'' FROM delivery WHERE id LIKE 's-%';"
        ))
        .unwrap();
    let few = |_: &Host| 2;
    let claims = outbox.source.next(Demand::new(3, &few)).await.unwrap();
    assert_eq!(ids(&claims)[..2], ["s-1", "s-2"]);
    assert_eq!(
        claims.len(),
        3,
        "and the one that became due after 3,000 others"
    );

    outbox.put(delivery("last", "b.example", "")).await.unwrap();
    let full = |host: &Host| {
        if host.as_str() == "stalled.example" {
            0
        } else {
            2
        }
    };
    let demand = Demand::new(9, &full);
    let more = outbox.source.next(demand).await.unwrap();
    assert_eq!(ids(&more), ["last"]);
    let none = timeout(Duration::from_millis(300), outbox.source.next(demand)).await;
    assert!(none.is_err(), "what has no room is not handed out");

    // As soon as there is room, without waiting for anything else.
    let again = timeout(Duration::from_millis(300), outbox.next(9))
        .await
        .unwrap();
    assert_eq!(ids(&again)[0], "s-3");
}

#[tokio::test]
async fn payloads_that_are_delivered_have_a_bound() {
    let folder = folder();
    let mut outbox = open(builder(&folder).with_payload_memory(1_500));
    for id in ["a", "b", "c"] {
        let payload = bytes::Bytes::from(vec![7; 1_000]);
        outbox
            .put(delivery(id, "a.example", payload))
            .await
            .unwrap();
    }
    let large = bytes::Bytes::from(vec![7; 9_000]);
    outbox.put(delivery("d", "a.example", large)).await.unwrap();
    for id in ["a", "b", "c", "d"] {
        let mut claims = outbox.next(9).await;
        assert_eq!(ids(&claims), [id]);
        assert!(outbox.is_quiet(Duration::from_millis(50)).await);
        settle(claims.remove(0), Verdict::Delivered).await.unwrap();
    }
}
