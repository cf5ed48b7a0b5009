//! Runs that were taken for interrupted, and whose responses come after all.

use std::time::Duration;

use http::StatusCode;
use tower_webhook::{
    Payload,
    event::{AttemptError, FailReason, Outcome},
    outbox::{DeliveryState, LeasedDelivery, NewDelivery, Outbox, Verdict, Want},
};
use tower_webhook_postgres::PostgresOutbox;

use crate::{
    deliveries::{new, put_leased, settle},
    support::place,
};

async fn fetch(outbox: &PostgresOutbox) -> LeasedDelivery {
    let mut due = outbox.fetch(Want::up_to(9)).await.unwrap();
    assert_eq!(due.deliveries.len(), 1);
    due.deliveries.remove(0)
}

/// A run that was handed back, and fetched as a notice.
async fn fetched_notice(outbox: &PostgresOutbox) -> LeasedDelivery {
    let mut run = new("a.example", "notice", true);
    run.stored.failure = Some(FailReason::Interrupted);
    run.stored.status = None;
    let leases = outbox.begin(vec![run]).await.unwrap();
    settle(outbox, leases[0].unwrap(), Verdict::Released).await;
    let notice = fetch(outbox).await;
    assert_eq!(notice.stored.payload.to_bytes(), "notice");
    notice
}

fn response_of(notice: &LeasedDelivery, lease: bool) -> NewDelivery {
    let mut response = new("a.example", "", lease);
    response.stored.id = notice.stored.id;
    response.stored.payload = Payload::from("response");
    response
}

async fn assert_response_is_kept(outbox: &PostgresOutbox, response: NewDelivery) {
    let is_leased = response.lease;
    let leases = outbox.insert(vec![response]).await.unwrap();
    assert_eq!(leases[0].is_some(), is_leased);
    // It is attempted from memory, and that fails.
    if let Some(lease) = leases[0] {
        settle(outbox, lease, Verdict::AgainIn(Duration::ZERO)).await;
    }
    let found = fetch(outbox).await;
    assert_eq!(found.stored.payload.to_bytes(), "response");
    assert_eq!(found.stored.failure, None);
    assert_eq!(found.attempt, 1 + u32::from(is_leased));
    settle(outbox, found.lease, Verdict::Delivered).await;
}

/// What has become of the notice when the response comes.
#[derive(Clone, Copy)]
enum Notice {
    WaitsForItsRetry,
    IsSent,
    IsSentByAnother,
    HasDied,
}

async fn assert_makes_way(state: Notice) {
    let Some(place) = place::place() else { return };
    let (outbox, other) = (place.outbox().await, place.outbox().await);
    let teller = match state {
        Notice::IsSentByAnother => &other,
        _ => &outbox,
    };
    for lease in [true, false] {
        let notice = fetched_notice(teller).await;
        match state {
            Notice::WaitsForItsRetry => {
                let later = Verdict::AgainIn(Duration::from_secs(3_600));
                settle(teller, notice.lease, later).await;
            }
            Notice::HasDied => {
                let dead = Verdict::Dead(Outcome::Failed(AttemptError::Client));
                settle(teller, notice.lease, dead).await;
            }
            Notice::IsSent | Notice::IsSentByAnother => {}
        }
        assert_response_is_kept(&outbox, response_of(&notice, lease)).await;
        let lost = teller.renew(vec![notice.lease]).await.unwrap();
        assert_eq!(lost, [notice.lease]);
    }
    assert_eq!(place.count("delivery", "TRUE").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_that_waits_for_its_retry_makes_way_for_a_late_response() {
    assert_makes_way(Notice::WaitsForItsRetry).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_that_is_sent_makes_way_for_a_late_response() {
    assert_makes_way(Notice::IsSent).await;
    assert_makes_way(Notice::IsSentByAnother).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_that_has_died_makes_way_for_a_late_response() {
    assert_makes_way(Notice::HasDied).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_of_a_delivered_notice_becomes_that_of_the_late_response() {
    let Some(place) = place::place() else { return };
    let outbox = place.outbox().await;
    let notice = fetched_notice(&outbox).await;
    settle(&outbox, notice.lease, Verdict::Delivered).await;
    let other = put_leased(&outbox, "a.example", "done").await;
    settle(&outbox, other, Verdict::Delivered).await;
    assert_response_is_kept(&outbox, response_of(&notice, false)).await;
    let record = outbox.get(notice.stored.id).await.unwrap().unwrap();
    assert_eq!(record.state, DeliveryState::Delivered);
    assert_eq!(record.status, Some(StatusCode::OK));
    assert_eq!(record.payload_len, "response".len());
    // What ended last is deleted last.
    let id = notice.stored.id;
    let newest = format!("id = '{id}' AND n = (SELECT max(n) FROM history)");
    assert_eq!(place.count("history", &newest).await, 1);
}
