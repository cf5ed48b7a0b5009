use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use tempfile::TempDir;
use tokio::time::timeout;

use super::{Gate, Open, builder, delivery, folder, hosts::fill, ids, open, settle, sql};
use crate::{
    Host,
    outbox::{Demand, Source, Verdict, sqlite::clock::Clock},
};

const A: &str = "a.example";
const MOMENT: Duration = Duration::from_millis(50);

/// An outbox with a memory of 1,500 bytes in which these wait, the first one the longest.
async fn filled(folder: &TempDir, waiting: &[(&str, &str, usize)]) -> Open {
    let outbox = open(builder(folder).with_payload_memory(1_500));
    for (id, host, len) in waiting {
        let payload = Bytes::from(vec![7; *len]);
        outbox.put(delivery(id, host, payload)).await.unwrap();
    }
    let in_order = "UPDATE delivery SET due_at = seq";
    sql(folder).execute_batch(in_order).unwrap();
    outbox
}

#[tokio::test]
async fn payloads_that_are_delivered_have_a_bound() {
    let folder = folder();
    let waiting = [
        ("a", A, 1_000),
        ("b", A, 1_000),
        ("c", A, 1_000),
        ("d", A, 9_000),
    ];
    let mut outbox = filled(&folder, &waiting).await;
    for id in ["a", "b", "c", "d"] {
        let mut claims = outbox.next(9).await;
        assert_eq!(ids(&claims), [id]);
        assert!(outbox.is_quiet(MOMENT).await);
        settle(claims.remove(0), Verdict::Delivered).await.unwrap();
    }
}

#[tokio::test]
async fn smaller_payloads_go_past_one_that_does_not_fit_and_leave_it_its_turn() {
    let folder = folder();
    let waiting = [
        ("first", A, 1_000),
        ("large", A, 1_200),
        ("a", A, 200),
        ("b", A, 200),
        ("c", A, 100),
        ("d", A, 200),
    ];
    let mut outbox = filled(&folder, &waiting).await;
    let mut claims = outbox.next(9).await;
    assert_eq!(ids(&claims), ["first", "a", "c"]);
    assert!(outbox.is_quiet(MOMENT).await, "it will need the rest");

    settle(claims.remove(1), Verdict::Delivered).await.unwrap();
    claims.extend(outbox.next(9).await);
    assert_eq!(ids(&claims), ["first", "c", "b"], "they go on meanwhile");

    settle(claims.remove(0), Verdict::Delivered).await.unwrap();
    claims.extend(outbox.next(9).await);
    assert_eq!(ids(&claims), ["c", "b", "large"]);
}

#[tokio::test]
async fn one_that_does_not_fit_keeps_its_place_among_its_host_s() {
    let folder = folder();
    let waiting = [
        ("first", A, 1_000),
        ("large", "b.example", 1_200),
        ("late", "b.example", 100),
        ("other", "c.example", 100),
    ];
    let mut outbox = filled(&folder, &waiting).await;
    let one_each = |_: &Host| 1;
    let demand = Demand::new(9, &one_each);
    let mut claims = outbox.source.next(demand).await.unwrap();
    assert_eq!(ids(&claims), ["first", "other"]);
    settle(claims.remove(0), Verdict::Delivered).await.unwrap();
    claims.extend(outbox.source.next(demand).await.unwrap());
    assert_eq!(ids(&claims), ["other", "large"]);
}

#[tokio::test]
async fn one_that_is_larger_than_the_memory_has_its_turn_when_nothing_else_takes_any() {
    let folder = folder();
    let waiting = [
        ("first", A, 1_000),
        ("empty", A, 0),
        ("huge", A, 9_000),
        ("late", A, 1),
    ];
    let mut outbox = filled(&folder, &waiting).await;
    let mut claims = outbox.next(9).await;
    assert_eq!(ids(&claims), ["first", "empty"]);
    assert!(outbox.is_quiet(MOMENT).await, "nothing goes past it");
    settle(claims.remove(0), Verdict::Delivered).await.unwrap();
    claims.extend(outbox.next(9).await);
    assert_eq!(ids(&claims), ["empty", "huge"]);
    assert!(outbox.is_quiet(MOMENT).await, "it is delivered alone");
    settle(claims.remove(1), Verdict::Delivered).await.unwrap();
    assert_eq!(ids(&outbox.next(9).await), ["late"]);
}

/// The end of an attempt frees its place first, so it is often written down together with the
/// request for the next one.
#[tokio::test]
async fn what_is_given_back_in_the_group_of_a_request_is_there_for_the_next_one() {
    const DAY: Duration = Duration::from_secs(24 * 3_600);
    let folder = folder();
    let outbox = builder(&folder).with_clock(Clock::system(), DAY);
    let mut outbox = open(outbox.with_payload_memory(1_500));
    let payload = Bytes::from(vec![7; 1_000]);
    outbox.put(delivery("a", A, payload.clone())).await.unwrap();
    let claim = outbox.next(1).await.remove(0);
    outbox.put(delivery("b", A, payload)).await.unwrap();
    let gate = Gate::shut(&outbox);
    gate.is_reached();
    let settling = settle(claim, Verdict::Delivered);
    tokio::pin!(settling);
    assert!(settling.as_mut().now_or_never().is_none());
    // Nothing but the request itself wakes the source from now on.
    outbox.sink.handle().due.notified().await;
    assert!(outbox.next(1).now_or_never().is_none());
    drop(gate);
    settling.await.unwrap();
    let next = timeout(Duration::from_secs(20), outbox.next(1)).await;
    assert_eq!(ids(&next.unwrap()), ["b"]);
}

/// Only one is waited for at a time. Those of a host with many must not always be the ones.
#[tokio::test]
async fn hosts_wait_for_memory_in_turns() {
    let folder = folder();
    let mut outbox = filled(&folder, &[]).await;
    fill(&folder, 1_100, "'stalled.example'");
    let few = |_: &Host| 1;
    let _stalled = outbox.source.next(Demand::new(9, &few)).await.unwrap();
    for (id, host) in [("a", A), ("b", A), ("c", A), ("d", "z.example")] {
        let payload = Bytes::from(vec![7; 1_000]);
        outbox.put(delivery(id, host, payload)).await.unwrap();
    }
    let room = |host: &Host| {
        if host.as_str() == "stalled.example" {
            0
        } else {
            9
        }
    };
    for id in ["a", "b", "d", "c"] {
        let mut claims = outbox.source.next(Demand::new(9, &room)).await.unwrap();
        assert_eq!(ids(&claims), [id]);
        settle(claims.remove(0), Verdict::Delivered).await.unwrap();
    }
}
