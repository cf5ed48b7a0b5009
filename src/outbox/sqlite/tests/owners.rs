use std::time::{Duration, Instant};

use super::{builder, count, folder, ids, open, settle, sql};
use crate::outbox::Verdict;

const LEASE: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_second_process_takes_nothing_from_one_that_lives() {
    let folder = folder();
    let mut first = open(builder(&folder).with_lease(LEASE));
    first.accept("a").await.unwrap();
    let mut claims = first.next(9).await;
    assert_eq!(ids(&claims), ["a"]);

    // Nothing looks after the first one but its own thread.
    let mut second = open(builder(&folder).with_lease(LEASE));
    assert!(second.is_quiet(3 * LEASE).await);
    settle(claims.remove(0), Verdict::AgainIn(Duration::ZERO))
        .await
        .unwrap();
    assert_eq!(
        ids(&second.next(9).await),
        ["a"],
        "it looks for what others have written"
    );
}

#[tokio::test]
async fn what_a_process_that_is_gone_had_claimed_is_due_after_the_lease() {
    let folder = folder();
    let mut outbox = open(builder(&folder).with_lease(LEASE));
    outbox.accept("a").await.unwrap();
    sql(&folder)
        .execute_batch(
            "INSERT INTO owner (id, pid, since, beat) VALUES (42, 1, 0, 7);
             UPDATE delivery SET state = 'claimed', owner = 42, attempt = 3;",
        )
        .unwrap();
    let began = Instant::now();
    let claims = outbox.next(9).await;
    assert_eq!(
        (ids(&claims), crate::outbox::Claim::attempt(&claims[0])),
        (vec!["a"], 3)
    );
    assert!(began.elapsed() >= LEASE);
    assert_eq!(count(&folder, "owner = 42"), 0);
}

#[tokio::test]
async fn a_claim_that_was_taken_over_cannot_be_settled_unless_it_is_delivered() {
    for verdict in [Verdict::AgainIn(Duration::ZERO), Verdict::Delivered] {
        let folder = folder();
        let mut outbox = open(builder(&folder));
        outbox.accept("a").await.unwrap();
        let claim = outbox.next(9).await.remove(0);
        sql(&folder)
            .execute_batch("UPDATE delivery SET owner = 42")
            .unwrap();
        let settled = settle(claim, verdict).await;
        match verdict {
            Verdict::Delivered => {
                settled.unwrap();
                assert_eq!(count(&folder, "TRUE"), 0);
            }
            _ => {
                let error = settled.unwrap_err();
                assert!(error.to_string().contains("another process"), "{error}");
                assert_eq!(count(&folder, "owner = 42"), 1);
            }
        }
    }
}
