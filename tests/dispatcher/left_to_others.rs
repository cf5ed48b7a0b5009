//! One dispatcher accepts, and another one delivers.

use std::{path::Path, sync::atomic::Ordering, time::Duration};

use tokio::time::sleep;
use tower::{Layer, ServiceExt};
use tower_webhook::{Dispatcher, EventKind, WebhookLayer, event::Durability, outbox::SealingKey};
use tower_webhook_sqlite::SqliteOutbox;

use crate::{
    outboxes::Faulty,
    world::{World, ask, call, gated},
};

pub(crate) fn outbox(folder: &Path) -> SqliteOutbox {
    let key = SealingKey::from_file_or_new(folder.join("key")).unwrap();
    SqliteOutbox::open(folder.join("webhooks.db"), key).unwrap()
}

#[tokio::test]
async fn what_is_accepted_without_attempts_others_deliver() {
    let folder = tempfile::tempdir().unwrap();
    let builder = Dispatcher::builder().with_outbox(outbox(folder.path()));
    let (mut api, builder) = World::new(builder.without_attempts());
    let accepting = builder.build();
    accepting.start();
    for id in ["a", "b"] {
        assert_eq!(call(&accepting, "example.com", id).await, 200);
        assert_eq!(api.event().await, EventKind::Accepted);
        let durability = Durability::LocalDisk;
        assert_eq!(api.event().await, EventKind::Queued { durability });
    }
    assert_eq!(accepting.outstanding(), 0);

    let builder = Dispatcher::builder().with_outbox(outbox(folder.path()));
    let (mut worker, builder) = World::new(builder);
    let delivering = builder.build();
    delivering.start();
    for id in ["a", "b"] {
        let posted = worker.post().await;
        assert_eq!((posted.id(), posted.attempt()), (id, "1"));
        posted.answer(200);
    }
    for _ in 0..2 {
        assert!(matches!(worker.end().await, EventKind::Delivered { .. }));
    }

    // It has made no attempt, and holds up nothing when it ends.
    let report = accepting.shutdown(Duration::MAX).await;
    assert_eq!((report.abandoned.len(), report.unfinished), (0, 0));
    assert!(api.posts.try_recv().is_err());
    assert!(api.events.try_recv().is_err());
    delivering.shutdown(Duration::MAX).await;
}

/// Nothing else happens in the process meanwhile: no poll, and no other delivery.
#[tokio::test(start_paused = true)]
async fn the_lease_of_a_call_that_runs_is_renewed() {
    is_renewed(Duration::ZERO, 15).await;
}

/// So long that it is time for the next one when it ends.
#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_again_after_a_renewal_that_took_long() {
    is_renewed(Duration::from_secs(4), 10).await;
}

async fn is_renewed(takes: Duration, times: usize) {
    let outbox = Faulty::durable().renewal(takes);
    let renewals = outbox.renewals();
    let builder = Dispatcher::builder().with_outbox(outbox);
    let (_api, builder) = World::new(builder.without_attempts());
    let accepting = builder.build();
    let (open, service) = gated();
    let layer = WebhookLayer::new()
        .with_dispatcher(accepting.clone())
        .with_async_requests();
    let mut request = ask("example.com", "a");
    let prefer = http::HeaderValue::from_static("respond-async");
    request.headers_mut().insert("prefer", prefer);
    let receipt = layer.layer(service).oneshot(request).await.unwrap();
    assert_eq!(receipt.status(), 202);
    // The lease is one of ten seconds, and renewed three times in that.
    sleep(Duration::from_secs(60)).await;
    assert!(renewals.load(Ordering::SeqCst) >= times, "{renewals:?}");
    open.send(()).unwrap();
    accepting.shutdown(Duration::from_secs(30)).await;
}

#[tokio::test]
#[should_panic(expected = "it takes a durable outbox")]
async fn what_is_in_memory_is_left_to_nobody() {
    let _ = Dispatcher::builder().without_attempts().build();
}
