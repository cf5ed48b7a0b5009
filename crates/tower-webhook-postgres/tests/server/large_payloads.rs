//! Payloads that are large together.

use tower_webhook::outbox::{Outbox, Want};

use crate::{deliveries::new, support::place};

/// Whatever the dispatcher has room for, one transaction reads no more than 32 MiB and what exceeds it.
#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_reads_a_bounded_number_of_bytes() {
    let Some(place) = place::place() else { return };
    let outbox = place.outbox().await;
    let payload = "x".repeat(20 << 20);
    for _ in 0..3 {
        let one = new("a.example", &payload, false);
        outbox.insert(vec![one]).await.unwrap();
    }
    for (number, more) in [(2, true), (1, false)] {
        let due = outbox.fetch(Want::up_to(9)).await.unwrap();
        assert_eq!((due.deliveries.len(), due.more), (number, more));
    }
}
