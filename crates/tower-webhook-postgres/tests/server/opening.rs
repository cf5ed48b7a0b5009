//! Opening an outbox that takes long, and is given up.

use std::time::Duration;

use tokio::time::timeout;

use crate::support::{
    place::{self, Place},
    scene::{PATIENCE, until},
};

/// Longer than the test.
const LONG: Duration = Duration::from_secs(3_600);

async fn number_waiting(place: &Place) -> i64 {
    let waiting = "relation = 'delivery'::regclass AND NOT granted";
    place.count("pg_locks", waiting).await
}

/// Neither does it block whoever drops it.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_on_of_an_opening_that_was_dropped() {
    let Some(place) = place::place() else { return };
    drop(place.outbox().await);
    let sql = place.sql().await;
    sql.batch_execute("BEGIN; LOCK TABLE delivery")
        .await
        .unwrap();
    let opening = tokio::spawn(place.builder().with_timeout(LONG).open());
    until(async || number_waiting(&place).await == 1).await;
    opening.abort();
    let dropped = timeout(PATIENCE, opening).await;
    assert!(dropped.expect("it does not block").is_err());
    until(async || number_waiting(&place).await == 0).await;
}
