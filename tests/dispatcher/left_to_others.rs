//! One dispatcher accepts, and another one delivers.

use std::path::Path;

use tower_webhook::{Dispatcher, EventKind, event::Durability, outbox::SealingKey};
use tower_webhook_sqlite::SqliteOutbox;

use crate::world::{World, call};

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
    let report = accepting.shutdown(std::time::Duration::MAX).await;
    assert_eq!((report.abandoned.len(), report.unfinished), (0, 0));
    assert!(api.posts.try_recv().is_err());
    assert!(api.events.try_recv().is_err());
    delivering.shutdown(std::time::Duration::MAX).await;
}

#[tokio::test]
#[should_panic(expected = "it takes a durable outbox")]
async fn what_is_in_memory_is_left_to_nobody() {
    let _ = Dispatcher::builder().without_attempts().build();
}
