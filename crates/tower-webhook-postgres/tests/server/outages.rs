//! Leases when the server was away for longer than they last: those who hold them could not renew them.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tower_webhook::outbox::{Outbox, Want};
use tower_webhook_postgres::PostgresOutbox;

use crate::{
    deliveries::{new, put_leased},
    support::{place, scene::until, server::Server},
};

const LEASE: Duration = Duration::from_secs(6);

async fn number_due(outbox: &PostgresOutbox) -> Option<usize> {
    let due = outbox.fetch(Want::up_to(9)).await.ok()?;
    Some(due.deliveries.len())
}

/// Whether the process that takes over fetches while the server is away, or is busy otherwise.
async fn assert_renewed_after_an_outage(fetches_meanwhile: bool) {
    let Some(mut server) = Server::start(&[]) else {
        return;
    };
    let place = server.place();
    let open = || place.builder().with_lease(LEASE).open();
    let (one, other) = (open().await.unwrap(), open().await.unwrap());
    let delivery = put_leased(&one, "a.example", "done").await;
    let runs = one.begin(vec![new("a.example", "notice", true)]).await;
    let held = vec![delivery, runs.unwrap()[0].unwrap()];
    assert_eq!(number_due(&other).await, Some(0));

    server.stop();
    let back_at = Instant::now() + LEASE;
    while Instant::now() < back_at {
        if fetches_meanwhile {
            assert_eq!(number_due(&other).await, None);
        }
        sleep(LEASE / 30).await;
    }
    server.run();

    // Whoever fetches first leaves time for renewals.
    let first = async {
        loop {
            if let Some(number) = number_due(&other).await {
                return number;
            }
        }
    };
    assert_eq!(first.await, 0, "taken from a process that is alive");
    assert_eq!(one.renew(held).await.unwrap(), []);

    // From now on nobody renews them.
    let mut taken = 0;
    until(async || {
        taken += number_due(&other).await.unwrap_or(0);
        taken == 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_outlast_an_outage_in_which_fetches_fail() {
    assert_renewed_after_an_outage(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_outlast_an_outage_in_which_nobody_fetches() {
    assert_renewed_after_an_outage(false).await;
}

/// However rarely somebody fetches.
#[tokio::test(flavor = "multi_thread")]
async fn leases_of_a_dead_process_are_reclaimed_by_one_that_fetches_rarely() {
    let Some(place) = place::place() else { return };
    let lease = Duration::from_secs(1);
    let open = || place.builder().with_lease(lease).open();
    let (one, other) = (open().await.unwrap(), open().await.unwrap());
    put_leased(&one, "a.example", "done").await;
    until(async || {
        // As rarely as that.
        sleep(lease).await;
        number_due(&other).await == Some(1)
    })
    .await;
}
