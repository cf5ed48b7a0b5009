//! Deliveries that are inserted again.

use tower_webhook::outbox::{Outbox, Want};

use crate::{deliveries::new, support::place};

/// Or a second attempt would run beside the first.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_fetched_is_not_leased_to_an_insert_of_the_same_outbox() {
    let Some(place) = place::place() else { return };
    let outbox = place.outbox().await;
    let mut one = new("a.example", "done", false);
    outbox.insert(vec![one.clone()]).await.unwrap();
    let due = outbox.fetch(Want::up_to(9)).await.unwrap();
    let lease = due.deliveries[0].lease;
    one.lease = true;
    assert_eq!(outbox.insert(vec![one]).await.unwrap(), [None]);
    assert_eq!(outbox.renew(vec![lease]).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_leased_by_an_insert_is_leased_to_its_repetition() {
    let Some(place) = place::place() else { return };
    let outbox = place.outbox().await;
    let one = new("a.example", "done", true);
    let first = outbox.insert(vec![one.clone()]).await.unwrap()[0].unwrap();
    let second = outbox.insert(vec![one]).await.unwrap()[0].unwrap();
    assert_eq!(outbox.renew(vec![first, second]).await.unwrap(), [first]);
}
