//! Processes that are killed, and others that come after them.

use std::time::Duration;

use tower_webhook::outbox::{DueDeliveries, Outbox, SettleOutcome, Settlement, Verdict, Want};

use super::{builder, count, folder, sql, until};

const LEASE: Duration = Duration::from_secs(3);

fn silent(folder: &tempfile::TempDir) -> Option<i64> {
    let conn = sql(folder);
    conn.query_row("SELECT silent FROM owner WHERE id = 7", [], |row| {
        row.get(0)
    })
    .ok()
}

/// No process lives for as long as a lease: each goes on counting where the one before was killed.
#[tokio::test]
async fn what_was_leased_is_due_again_in_a_crash_loop_that_is_shorter_than_the_lease() {
    let folder = folder();
    drop(builder(&folder).open().unwrap());
    sql(&folder)
        .execute_batch(
            "INSERT INTO owner (id, pid, since, beat) VALUES (7, 7, 0, 3);
             WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 600)
             INSERT INTO delivery (id, request_id, state, host, status, envelope, payload_len,
                                   accepted_at, due_at, owner, token)
                 SELECT 'id-' || n, 'a', 'leased', 'a', 200, x'', 0, 0, 0, 7, n FROM n;",
        )
        .unwrap();
    let mut lives = 0;
    while let Some(before) = silent(&folder) {
        assert_eq!(count(&folder, "state = 'leased'"), 600);
        let outbox = builder(&folder)
            .with_lease(LEASE)
            .with_lost_keys()
            .open()
            .unwrap();
        until(|| silent(&folder) != Some(before)).await;
        drop(outbox);
        lives += 1;
        assert!(lives < 10);
    }
    assert!(lives > 3, "{lives} lives, each of them a second");
    assert_eq!(count(&folder, "state = 'leased'"), 0);
    assert_eq!(count(&folder, "state = 'waiting'"), 600);
}

/// However many others look.
#[tokio::test]
async fn an_owner_that_beats_keeps_what_it_has_leased() {
    let folder = folder();
    let open = || builder(&folder).with_lease(LEASE).open().unwrap();
    let (alive, _others) = (open(), [open(), open(), open()]);
    sql(&folder)
        .execute_batch(
            "INSERT INTO delivery (id, request_id, state, host, status, envelope, payload_len,
                                   accepted_at, due_at)
                 VALUES ('019a0000-0000-7000-8000-000000000001', 'a', 'waiting', 'a', 200, x'', 0,
                         0, 0);",
        )
        .unwrap();
    let DueDeliveries { deliveries, .. } = alive.fetch(Want::up_to(9)).await.unwrap();
    let leases: Vec<_> = deliveries.iter().map(|leased| leased.lease).collect();
    assert_eq!(leases.len(), 1);
    for _ in 0..7 {
        tokio::time::sleep(LEASE / 3).await;
        assert_eq!(alive.renew(leases.clone()).await.unwrap(), []);
    }
}

/// Each judges others by its own lease.
#[tokio::test]
async fn an_owner_beats_in_time_for_others_whose_leases_are_shorter() {
    let folder = folder();
    let outbox = builder(&folder).with_lease(20 * LEASE).open().unwrap();
    assert_eq!(outbox.limits().lease, Some(LEASE));
}

/// One row has a value that none of ours has: it can be read, and not be changed.
#[tokio::test]
async fn a_row_that_cannot_be_changed_keeps_no_other_from_being_settled_or_handed_back() {
    let folder = folder();
    let outbox = builder(&folder).open().unwrap();
    sql(&folder)
        .execute_batch(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 9)
             INSERT INTO delivery (id, request_id, state, host, status, envelope, payload_len,
                                   accepted_at, due_at)
                 SELECT '019a0000-0000-7000-8000-00000000000' || n, 'a', 'waiting', 'a', 200, x'',
                     0, 0, 0 FROM n;",
        )
        .unwrap();
    let found = outbox.fetch(Want::up_to(9)).await.unwrap();
    assert_eq!(found.deliveries.len(), 9);
    let schema = |change| {
        format!(
            "PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET sql = {change} WHERE name = 'delivery';
             PRAGMA writable_schema = RESET;"
        )
    };
    sql(&folder)
        .execute_batch(&format!(
            "{} UPDATE delivery SET status = 'x' WHERE seq = 3; {}",
            schema("replace(sql, ') STRICT', ')')"),
            schema("sql || ' STRICT'")
        ))
        .unwrap();
    let again = |leased: &tower_webhook::outbox::LeasedDelivery| {
        Settlement::new(leased.lease, Verdict::AgainIn(Duration::ZERO), None)
    };
    let settled = outbox
        .settle(found.deliveries[..5].iter().map(again).collect())
        .await
        .unwrap();
    assert_eq!(settled, [SettleOutcome::Done; 5]);
    assert_eq!(count(&folder, "state = 'waiting'"), 4);
    outbox.close().await.unwrap();
    assert_eq!(count(&folder, "state = 'waiting'"), 8);
    assert_eq!(count(&folder, "state = 'leased' AND seq = 3"), 1);
    drop(outbox);
    assert_eq!(count(&folder, "state = 'waiting'"), 8);
}
