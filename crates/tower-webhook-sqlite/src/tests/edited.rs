//! Values that somebody who can write the file has put into it.

use tempfile::TempDir;
use tower_webhook::outbox::{DeliveryFilter, Outbox, Want};

use super::{builder, count, folder, leave_dead, sql, until};

fn change(folder: &TempDir, change: &str) {
    sql(folder).execute_batch(change).unwrap();
}

#[tokio::test]
async fn a_dead_letter_that_claims_to_be_huge_evicts_no_others() {
    for claim in ["9223372036854775807", "-9223372036854775808"] {
        let folder = folder();
        let outbox = builder(&folder).open().unwrap();
        for number in 1..=3 {
            leave_dead(&outbox, number).await;
        }
        drop(outbox);
        change(
            &folder,
            &format!("UPDATE delivery SET payload_len = {claim} WHERE seq = 3"),
        );
        // They are counted when it is opened.
        let outbox = builder(&folder).with_lost_keys().open().unwrap();
        for number in 4..=6 {
            leave_dead(&outbox, number).await;
            assert_eq!(count(&folder, "state = 'dead'"), number as i64, "{claim}");
        }
        let all = outbox.redeliver(DeliveryFilter::new()).await.unwrap();
        assert_eq!(all, 6, "{claim}");
    }
}

#[tokio::test]
async fn what_is_leased_to_nobody_in_the_table_is_due_again() {
    for nobody in ["NULL", "3", "-9223372036854775808", "9223372036854775807"] {
        let folder = folder();
        let outbox = builder(&folder).with_lost_keys().open().unwrap();
        change(
            &folder,
            &format!(
                "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 600)
                 INSERT INTO delivery (id, request_id, state, host, status, envelope, payload_len,
                                       accepted_at, due_at, owner)
                     SELECT 'id-' || n, 'a', 'leased', 'a', 200, x'', 0, 0, 0, {nobody} FROM n;"
            ),
        );
        until(|| count(&folder, "state = 'waiting' AND owner IS NULL") == 600).await;
        drop(outbox);
    }
}

#[tokio::test]
async fn what_this_process_and_others_have_leased_is_not_freed_with_it() {
    let folder = folder();
    let (one, other) = (builder(&folder).open(), builder(&folder).open());
    let (one, other) = (one.unwrap(), other.unwrap());
    change(
        &folder,
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 3)
         INSERT INTO delivery (id, request_id, state, host, status, envelope, payload_len,
                               accepted_at, due_at)
             SELECT '019a0000-0000-7000-8000-00000000000' || n, 'a', 'waiting', 'a', 200, x'', 0, 0,
                 0 FROM n;",
    );
    for outbox in [&one, &other] {
        let found = outbox.fetch(Want::up_to(1)).await.unwrap();
        assert_eq!(found.deliveries.len(), 1);
    }
    change(
        &folder,
        "UPDATE delivery SET state = 'leased', owner = 3 WHERE state = 'waiting'",
    );
    until(|| count(&folder, "state = 'waiting'") == 1).await;
    assert_eq!(count(&folder, "state = 'leased'"), 2);
}
