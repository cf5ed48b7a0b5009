//! Leases and due times use the server's clock. The only time that a client sends is when a delivery was
//! accepted, and nothing depends on it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tower_webhook::outbox::{DeliveryFilter, Outbox, Page, Verdict, Want};

use crate::{
    deliveries::{new, settle},
    support::{place, scene::until},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_a_wrong_clock_leases_and_waits_as_every_other() {
    let Some(place) = place::place() else { return };
    let lease = Duration::from_secs(2);
    let outbox = place.builder().with_lease(lease).open().await.unwrap();
    let century = Duration::from_secs(100 * 365 * 86_400);
    let day = Duration::from_secs(86_400);
    for accepted_at in [
        UNIX_EPOCH,
        UNIX_EPOCH - day,
        SystemTime::now() + century,
        UNIX_EPOCH + 1_000 * century,
    ] {
        let mut one = new("a.example", "done", true);
        one.stored.accepted_at = accepted_at;
        let id = one.stored.id;
        let leases = outbox.insert(vec![one]).await.unwrap();
        let until = "leased_until > clock_timestamp() AND leased_until < clock_timestamp() + '3 s'";
        assert_eq!(place.count("delivery", until).await, 1);
        settle(
            &outbox,
            leases[0].unwrap(),
            Verdict::AgainIn(Duration::ZERO),
        )
        .await;
        let due = outbox.fetch(Want::up_to(9)).await.unwrap();
        assert_eq!(due.deliveries.len(), 1);
        assert_eq!(due.deliveries[0].stored.id, id);
        settle(&outbox, due.deliveries[0].lease, Verdict::Delivered).await;
    }
    let all = outbox.list(DeliveryFilter::new(), Page::first(9)).await;
    assert_eq!(all.unwrap().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_later_says_in_how_long_by_the_servers_clock() {
    let Some(place) = place::place() else { return };
    let outbox = place.outbox().await;
    let lease = crate::deliveries::put_leased(&outbox, "a.example", "done").await;
    settle(&outbox, lease, Verdict::AgainIn(Duration::from_secs(3_600))).await;
    let due = outbox.fetch(Want::up_to(9)).await.unwrap();
    assert!(due.deliveries.is_empty() && !due.more);
    let next = due.next_due.unwrap();
    assert!(next > Duration::from_secs(3_000) && next <= Duration::from_secs(3_600));
    assert_eq!(outbox.oldest_due().await.unwrap(), None);
    let new = new("a.example", "done", false);
    outbox.insert(vec![new]).await.unwrap();
    until(async || {
        let oldest = outbox.oldest_due().await.unwrap();
        oldest.unwrap() > Duration::from_millis(100)
    })
    .await;
    // The longest possible delay does not overflow a timestamp.
    let lease = crate::deliveries::put_leased(&outbox, "a.example", "done").await;
    settle(&outbox, lease, Verdict::AgainIn(Duration::MAX)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_has_run_out_is_taken_over_and_lost() {
    let Some(place) = place::place() else { return };
    let open = || {
        place
            .builder()
            .with_lease(Duration::from_millis(500))
            .open()
    };
    let (one, other) = (open().await.unwrap(), open().await.unwrap());
    let lease = crate::deliveries::put_leased(&one, "a.example", "done").await;
    until(async || {
        let due = other.fetch(Want::up_to(9)).await.unwrap();
        due.deliveries.len() == 1
    })
    .await;
    assert_eq!(one.renew(vec![lease]).await.unwrap(), [lease]);
}
