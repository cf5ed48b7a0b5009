//! Runs that are begun again because nobody heard whether the first time was committed.

use std::time::Duration;

use tokio::time::timeout;
use tower_webhook::outbox::{NewDelivery, Outbox, Want};
use tower_webhook_postgres::PostgresOutbox;

use crate::{
    deliveries::new,
    support::{
        place::{self, Place},
        scene::{PATIENCE, until},
    },
};

const HOLD: &str = "SELECT pg_advisory_lock(4321)";
const LET_GO: &str = "SELECT pg_advisory_unlock(4321)";

/// A commit of a new row waits for a lock, however long that takes, and is not cancelled.
async fn open(place: &Place, timeout: Duration) -> PostgresOutbox {
    let builder = place.builder().with_timeout(timeout);
    let outbox = builder.with_lease(PATIENCE).open().await.unwrap();
    let sql = place.sql().await;
    sql.batch_execute(
        "CREATE FUNCTION no_timeout() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN PERFORM set_config(''statement_timeout'', ''0'', true); RETURN NEW; END';
         CREATE TRIGGER no_timeout BEFORE INSERT ON delivery FOR EACH ROW EXECUTE FUNCTION no_timeout();
         CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN
                  LOOP
                      BEGIN
                          PERFORM pg_advisory_xact_lock_shared(4321);
                          RETURN NULL;
                      EXCEPTION WHEN query_canceled THEN NULL;
                      END;
                  END LOOP;
              END';
         CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON delivery DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION wait()",
    )
    .await
    .unwrap();
    outbox
}

async fn assert_begun_again(place: &Place, outbox: &PostgresOutbox, run: NewDelivery) {
    until(async || place.count("delivery", "run").await == 1).await;
    let leases = outbox.begin(vec![run.clone()]).await.unwrap();
    let lease = leases[0].expect("it is this outbox that has begun it");
    assert_eq!(outbox.renew(vec![lease]).await.unwrap(), []);
    // Now it was heard, and a run that is there is begun once.
    assert_eq!(outbox.begin(vec![run]).await.unwrap(), [None]);
    assert_eq!(outbox.renew(vec![lease]).await.unwrap(), []);
    let due = outbox.fetch(Want::up_to(9)).await.unwrap();
    assert!(due.deliveries.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_commit_timed_out_is_leased_to_the_outbox_that_repeats_it() {
    let Some(place) = place::place() else { return };
    let outbox = open(&place, Duration::from_secs(1)).await;
    let run = new("a.example", "notice", true);
    let sql = place.sql().await;
    sql.batch_execute(HOLD).await.unwrap();
    assert!(outbox.begin(vec![run.clone()]).await.is_err());
    sql.batch_execute(LET_GO).await.unwrap();
    assert_begun_again(&place, &outbox, run).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_caller_gave_up_is_leased_to_the_outbox_that_repeats_it() {
    let Some(place) = place::place() else { return };
    let outbox = open(&place, PATIENCE).await;
    let run = new("a.example", "notice", true);
    let sql = place.sql().await;
    sql.batch_execute(HOLD).await.unwrap();
    let given_up = timeout(Duration::from_secs(1), outbox.begin(vec![run.clone()])).await;
    assert!(given_up.is_err());
    sql.batch_execute(LET_GO).await.unwrap();
    assert_begun_again(&place, &outbox, run).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_another_outbox_stays_its_own() {
    let Some(place) = place::place() else { return };
    let outbox = open(&place, Duration::from_secs(1)).await;
    let other = place.outbox().await;
    let run = new("a.example", "notice", true);
    let lease = other.begin(vec![run.clone()]).await.unwrap()[0].unwrap();
    assert_eq!(outbox.begin(vec![run]).await.unwrap(), [None]);
    assert_eq!(other.renew(vec![lease]).await.unwrap(), []);
}
