//! A disk that is full.

use std::{path::Path, process::Command, time::Duration};

use tower_webhook::{Dispatcher, EventKind, RetryPolicy};
use tower_webhook_sqlite::{SqliteOutbox, SqliteOutboxBuilder, SqliteOutboxErrorKind as Kind};

use crate::scene::{Folder, Receiver, call, dispatcher, key, moved, until};

fn patient(outbox: SqliteOutboxBuilder) -> (Dispatcher, std::sync::mpsc::Receiver<()>) {
    let (failures, failed) = std::sync::mpsc::channel();
    let dispatcher = dispatcher()
        .with_outbox(outbox.with_key(key(1)).open().unwrap())
        .with_retry_policy(RetryPolicy::standard_webhooks())
        .on_event(move |event| {
            if *event.kind() == EventKind::OutboxFailed {
                failures.send(()).unwrap();
            }
            moved();
        })
        .build();
    (dispatcher, failed)
}

/// Calls until the outbox takes no more, and says how many it took.
async fn fill(dispatcher: &Dispatcher, failed: &std::sync::mpsc::Receiver<()>, url: &str) -> usize {
    for n in 0..2_000 {
        assert_eq!(call(dispatcher, &format!("run-{n}"), url).await, 200);
        if failed.try_recv().is_ok() {
            return n;
        }
    }
    panic!("it is never full");
}

#[tokio::test]
async fn a_full_file_takes_no_more_and_loses_nothing() {
    let (folder, receiver) = (Folder::new(), Receiver::start(500).await);
    let small = SqliteOutbox::builder(folder.file()).with_max_file_size(256 << 10);
    let (dispatcher, failed) = patient(small);
    let taken = fill(&dispatcher, &failed, &receiver.url()).await;
    assert!(taken > 10);
    // The one that was not taken goes out from memory.
    let last = format!("run-{taken}");
    until(|| receiver.ids().contains(&last)).await;

    dispatcher.shutdown(Duration::from_secs(1)).await;
    drop(dispatcher);
    assert_eq!(folder.count("TRUE"), taken as i64);
    folder.sql("UPDATE delivery SET state = 'waiting', owner = NULL, due_at = 0");
    receiver.answer(200);
    let next = folder.dispatcher();
    next.start();
    until(|| next.counts().delivered == taken as u64).await;
    assert_eq!(folder.count("TRUE"), 0);
}

/// Unmounts when it is dropped.
struct Tmpfs<'a>(&'a Path);

impl<'a> Tmpfs<'a> {
    fn mount(at: &'a Path) -> Option<Self> {
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(at)
            .status();
        mount
            .is_ok_and(|status| status.success())
            .then_some(Self(at))
    }
}

impl Drop for Tmpfs<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_takes_no_more_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_tmpfs) = Tmpfs::mount(folder.path()) else {
        eprintln!("SKIPPED: a_full_disk_takes_no_more_and_loses_nothing needs to mount a tmpfs");
        return;
    };
    let file = folder.path().join("webhooks.db");
    let receiver = Receiver::start(500).await;
    let (dispatcher, failed) = patient(SqliteOutbox::builder(&file));
    let ballast = folder.path().join("ballast");
    std::fs::write(&ballast, vec![1; 300 << 10]).unwrap();
    let taken = fill(&dispatcher, &failed, &receiver.url()).await;
    assert!(taken > 10);

    // With room again, everything that was taken is there, and more is taken.
    std::fs::remove_file(&ballast).unwrap();
    call(&dispatcher, "after", &receiver.url()).await;
    assert!(failed.try_recv().is_err());
    dispatcher.shutdown(Duration::from_secs(5)).await;
    drop(dispatcher);
    let conn = rusqlite::Connection::open(&file).unwrap();
    let sql = "SELECT count(*) FROM delivery WHERE request_id <> 'after'";
    let kept: i64 = conn.query_row(sql, [], |row| row.get(0)).unwrap();
    drop(conn);
    assert_eq!(kept, taken as i64);
    assert_ne!(
        SqliteOutbox::open(&file, key(1))
            .map_err(|e| e.kind())
            .err(),
        Some(Kind::Corrupt)
    );
}
