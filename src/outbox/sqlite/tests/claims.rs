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
    // It takes its leave as the last thing that it does.
    let owners = || -> i64 {
        let count = "SELECT count(*) FROM owner";
        sql(&folder).query_row(count, [], |row| row.get(0)).unwrap()
    };
    super::until(|| owners() == 0).await;
    assert_eq!(count(&folder, "state = 'waiting'"), 3);
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
