//! Processes that are killed, and others that come after them.

use std::time::Duration;

use tower_webhook::outbox::{DueDeliveries, Outbox, Want};

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
