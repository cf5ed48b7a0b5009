//! Runs that were cut off as far as the outbox knew, and whose responses come after all.

use std::time::Duration;

use tower_webhook::{
    event::{AttemptError, FailReason, Outcome},
    outbox::{
        LeasedDelivery, NewDelivery, Outbox, SettleOutcome, Settlement, StoredDelivery, Verdict,
        Want,
    },
};

use super::{builder, count, folder, leave_dead, sql, stored};
use crate::SqliteOutbox;

fn notice() -> StoredDelivery {
    let mut notice = stored(1, "notice");
    notice.failure = Some(FailReason::Interrupted);
    notice
}

async fn settle(outbox: &SqliteOutbox, leased: &LeasedDelivery, verdict: Verdict) -> SettleOutcome {
    let settlement = Settlement::new(leased.lease, verdict, None);
    outbox.settle(vec![settlement]).await.unwrap()[0]
}

async fn fetch(outbox: &SqliteOutbox) -> LeasedDelivery {
    let mut due = outbox.fetch(Want::up_to(9)).await.unwrap();
    assert_eq!(due.deliveries.len(), 1);
    due.deliveries.remove(0)
}

/// A run that was handed back and fetched.
async fn fetched_notice(outbox: &SqliteOutbox) -> LeasedDelivery {
    let run = NewDelivery::new(notice(), true);
    let run = outbox.begin(vec![run]).await.unwrap()[0].unwrap();
    let released = Settlement::new(run, Verdict::Released, None);
    outbox.settle(vec![released]).await.unwrap();
    fetch(outbox).await
}

/// Inserted, it is attempted from memory; that fails, so that it is read back.
async fn takes_its_place(outbox: &SqliteOutbox, asks_for_lease: bool) {
    let response = NewDelivery::new(stored(1, "response"), asks_for_lease);
    let lease = outbox.insert(vec![response]).await.unwrap()[0];
    assert_eq!(lease.is_some(), asks_for_lease);
    if let Some(lease) = lease {
        let again = Settlement::new(lease, Verdict::AgainIn(Duration::ZERO), None);
        let settled = outbox.settle(vec![again]).await.unwrap();
        assert_eq!(settled, [SettleOutcome::Done]);
    }
    let found = fetch(outbox).await;
    assert_eq!(found.stored.payload.to_bytes(), "response");
    assert_eq!(found.stored.envelope.bytes().unwrap(), "response");
    assert_eq!(found.stored.failure, None);
    assert_eq!(found.attempt, 1 + u32::from(asks_for_lease));
}

#[tokio::test]
async fn a_late_response_takes_the_place_of_a_notice_that_waits_for_its_retry() {
    for asks_for_lease in [true, false] {
        let folder = folder();
        let outbox = builder(&folder).open().unwrap();
        let told = fetched_notice(&outbox).await;
        let later = Verdict::AgainIn(Duration::from_secs(3_600));
        assert_eq!(settle(&outbox, &told, later).await, SettleOutcome::Done);
        takes_its_place(&outbox, asks_for_lease).await;
    }
}

#[tokio::test]
async fn a_late_response_takes_the_place_of_a_notice_that_this_process_sends() {
    for asks_for_lease in [true, false] {
        let folder = folder();
        let outbox = builder(&folder).open().unwrap();
        let told = fetched_notice(&outbox).await;
        takes_its_place(&outbox, asks_for_lease).await;
        let lost = settle(&outbox, &told, Verdict::Delivered).await;
        assert_eq!(lost, SettleOutcome::LeaseLost);
    }
}

#[tokio::test]
async fn a_late_response_takes_the_place_of_a_notice_that_another_process_sends() {
    let folder = folder();
    let (outbox, other) = (builder(&folder).open(), builder(&folder).open());
    let (outbox, other) = (outbox.unwrap(), other.unwrap());
    let told = fetched_notice(&other).await;
    takes_its_place(&outbox, true).await;
    let lost = settle(&other, &told, Verdict::Delivered).await;
    assert_eq!(lost, SettleOutcome::LeaseLost);
}

/// Counted as a dead letter on, it would make way for others that are none too many.
#[tokio::test]
async fn a_late_response_takes_the_place_of_a_notice_that_has_died() {
    for asks_for_lease in [true, false] {
        let folder = folder();
        let outbox = builder(&folder).with_max_dead_letters(1).open().unwrap();
        let dead = Verdict::Dead(Outcome::Failed(AttemptError::Crowded));
        let told = fetched_notice(&outbox).await;
        assert_eq!(settle(&outbox, &told, dead).await, SettleOutcome::Done);
        takes_its_place(&outbox, asks_for_lease).await;
        leave_dead(&outbox, 2).await;
        assert_eq!(count(&folder, "state = 'dead'"), 1);
    }
}

#[tokio::test]
async fn a_notice_that_is_inserted_twice_keeps_its_attempts() {
    let folder = folder();
    let outbox = builder(&folder).open().unwrap();
    let told = fetched_notice(&outbox).await;
    let later = Verdict::AgainIn(Duration::from_secs(3_600));
    settle(&outbox, &told, later).await;
    let again = NewDelivery::new(notice(), false);
    assert_eq!(outbox.insert(vec![again]).await.unwrap(), [None]);
    let attempt = "SELECT attempt FROM delivery";
    let attempt: i64 = sql(&folder)
        .query_row(attempt, [], |row| row.get(0))
        .unwrap();
    assert_eq!(attempt, 2);
}
