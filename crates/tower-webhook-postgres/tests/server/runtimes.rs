//! Calls from several runtimes, each of which ends before the outbox does.

use tokio::runtime::Runtime;
use tower_webhook::outbox::{Outbox, Want};

use crate::{deliveries::new, support::place};

#[test]
fn connections_outlive_the_runtime_in_which_the_outbox_was_opened() {
    let Some(place) = place::place() else { return };
    let first = Runtime::new().unwrap();
    let outbox = first.block_on(async {
        let outbox = place.outbox().await;
        outbox
            .insert(vec![new("a.example", "1", false)])
            .await
            .unwrap();
        outbox
    });
    drop(first);
    for number in 0..3 {
        let next = Runtime::new().unwrap();
        next.block_on(async {
            outbox
                .insert(vec![new("a.example", "2", false)])
                .await
                .unwrap();
        });
        if number == 2 {
            let due = next.block_on(outbox.fetch(Want::up_to(9))).unwrap();
            assert_eq!(due.deliveries.len(), 4);
        }
    }
    drop(outbox);
}

/// Dropping releases the leases before it returns, so that the process may exit.
#[tokio::test(flavor = "multi_thread")]
async fn an_outbox_that_is_dropped_hands_back_its_leases() {
    let Some(place) = place::place() else { return };
    let outbox = place.outbox().await;
    let leases = outbox
        .insert(vec![new("a.example", "1", true)])
        .await
        .unwrap();
    assert!(leases[0].is_some());
    assert_eq!(place.count("delivery", "state = 'leased'").await, 1);
    drop(outbox);
    assert_eq!(place.count("delivery", "state = 'waiting'").await, 1);
}
