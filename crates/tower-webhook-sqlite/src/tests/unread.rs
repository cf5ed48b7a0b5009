//! Callers who are gone before they have read what was leased to them.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::timeout;
use tower_webhook::outbox::{Outbox, Settlement, Verdict, Want};

use super::{builder, count, folder, new, until};

#[tokio::test]
async fn what_an_insert_has_leased_is_due_where_its_answer_is_not_read() {
    let folder = folder();
    let outbox = builder(&folder).open().unwrap();
    let mut inserting = Box::pin(outbox.insert(vec![new(1)]));
    assert!(inserting.as_mut().now_or_never().is_none());
    until(|| count(&folder, "state = 'leased'") == 1).await;
    drop(inserting);
    until(|| count(&folder, "state = 'waiting'") == 1).await;
}

/// Nobody was promised anything, and perhaps it runs: an end that it had not is not told.
#[tokio::test]
async fn a_run_is_forgotten_where_nobody_reads_that_it_has_begun() {
    let folder = folder();
    let outbox = builder(&folder).open().unwrap();
    let mut beginning = Box::pin(outbox.begin(vec![new(1)]));
    assert!(beginning.as_mut().now_or_never().is_none());
    until(|| count(&folder, "run = 1") == 1).await;
    drop(beginning);
    until(|| count(&folder, "TRUE") == 0).await;
}

#[tokio::test]
async fn what_a_fetch_has_leased_is_due_where_its_answer_is_not_read() {
    let folder = folder();
    let outbox = builder(&folder).open().unwrap();
    let mut waiting = new(1);
    waiting.lease = false;
    outbox.insert(vec![waiting]).await.unwrap();
    let mut fetching = Box::pin(outbox.fetch(Want::up_to(1)));
    assert!(fetching.as_mut().now_or_never().is_none());
    until(|| count(&folder, "state = 'leased'") == 1).await;
    drop(fetching);
    until(|| count(&folder, "state = 'waiting'") == 1).await;
}

/// Also between the commit and the answer.
#[tokio::test]
async fn no_lease_is_nobodys_however_late_a_caller_leaves() {
    let folder = folder();
    let outbox = builder(&folder).open().unwrap();
    let mut read = Vec::new();
    for turn in 0..100 {
        let batch = |first: usize| (first..first + 20).map(new).collect();
        let time = Duration::from_micros(50 * turn as u64);
        let (inserted, begun) = tokio::join!(
            timeout(time, outbox.insert(batch(1_000 * turn))),
            timeout(time, outbox.begin(batch(1_000 * turn + 500)))
        );
        for leases in [inserted, begun].into_iter().flatten() {
            read.extend(leases.unwrap().into_iter().flatten());
        }
    }
    let released = |&lease| Settlement::new(lease, Verdict::Released, None);
    outbox
        .settle(read.iter().map(released).collect())
        .await
        .unwrap();
    until(|| count(&folder, "state = 'leased'") == 0).await;
}
