//! A disk that is full.

use std::{path::Path, process::Command, time::Duration};

use tower_webhook::{
    Dispatcher, EndpointPolicy, EventKind, Payload, RetryPolicy, delivery::DeliveryParts,
};
use tower_webhook_sqlite::{SqliteOutbox, SqliteOutboxBuilder, SqliteOutboxErrorKind as Kind};

use crate::scene::{Folder, Receiver, SILENT, call, dispatcher, key, moved, until};

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

/// All that was taken is attempted, however many dead letters pour in; they make room for what comes.
async fn dead_letters_make_room(dispatcher: Dispatcher, receiver: &Receiver, calls: usize) {
    for n in 0..calls {
        let id = format!("run-{n:04}");
        assert_eq!(call(&dispatcher, &id, &receiver.url()).await, 200);
    }
    receiver.gets(calls).await;
    until(|| dispatcher.counts().dead == calls as u64).await;
    assert_eq!(dispatcher.counts().outbox_failed, 0, "it was never full");
    let mut ids = receiver.ids();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), calls);
    dispatcher.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn dead_letters_make_room_before_a_delivery_is_refused() {
    let (folder, receiver) = (Folder::new(), Receiver::start(500).await);
    let small = SqliteOutbox::builder(folder.file())
        .with_key(key(1))
        .with_max_file_size(512 << 10);
    let dispatcher = dispatcher().with_outbox(small.open().unwrap()).build();
    dead_letters_make_room(dispatcher, &receiver, 1_500).await;
    let dead = folder.count("state = 'dead'");
    assert!((50..1_500).contains(&dead), "{dead} are kept");
    assert_eq!(folder.count("state <> 'dead'"), 0);
    let last = folder.count("state = 'dead' AND request_id = 'run-1499'");
    assert_eq!(last, 1, "the oldest went first");
    assert!(std::fs::metadata(folder.file()).unwrap().len() <= 512 << 10);
}

/// What was taken while there was room is delivered, and what becomes of it is noted, in the room that
/// was kept for that.
#[tokio::test]
async fn a_file_full_of_deliveries_has_room_for_what_becomes_of_them() {
    let (folder, receiver) = (Folder::new(), Receiver::start(500).await);
    let small = SqliteOutbox::builder(folder.file()).with_max_file_size(512 << 10);
    let (filled, failed) = patient(small);
    let taken = fill(&filled, &failed, &receiver.url()).await;
    filled.shutdown(Duration::from_secs(1)).await;
    drop(filled);
    // What could not be noted at once, as the file is full, is noted a second later.
    until(|| folder.count("state = 'leased'") == 0).await;
    folder.sql("UPDATE delivery SET due_at = 0");

    receiver.answer(400);
    let small = SqliteOutbox::builder(folder.file())
        .with_key(key(1))
        .with_max_file_size(512 << 10);
    let next = dispatcher().with_outbox(small.open().unwrap()).build();
    next.start();
    until(|| next.counts().dead == taken as u64).await;
    next.shutdown(Duration::from_secs(5)).await;
    assert_eq!(folder.count("state <> 'dead'"), 0);
    assert!(folder.count("TRUE") > 0);
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
    loop {
        call(&dispatcher, "after", &receiver.url()).await;
        if failed.try_recv().is_err() {
            break;
        }
    }
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

/// Other things fill the disk meanwhile, too.
#[tokio::test]
async fn on_a_full_disk_dead_letters_make_room_and_nothing_that_was_taken_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_tmpfs) = Tmpfs::mount(folder.path()) else {
        eprintln!("SKIPPED: a test of a full disk needs to mount a tmpfs");
        return;
    };
    let file = folder.path().join("webhooks.db");
    let receiver = Receiver::start(500).await;
    let outbox = SqliteOutbox::open(&file, key(1)).unwrap();
    let dispatcher = dispatcher().with_outbox(outbox).build();
    let mut taken = 0;
    for n in 0..1_500 {
        let failed = dispatcher.counts().outbox_failed;
        call(&dispatcher, &format!("run-{n}"), &receiver.url()).await;
        taken += usize::from(dispatcher.counts().outbox_failed == failed);
        if n == 100 {
            // As far as it goes.
            let _ = std::fs::write(folder.path().join("ballast"), vec![1; 2 << 20]);
        }
    }
    assert!(taken > 1_000, "{taken} of 1,500 were taken");
    receiver.gets(1_500).await;
    until(|| dispatcher.counts().dead == 1_500).await;
    dispatcher.shutdown(Duration::from_secs(5)).await;
    drop(dispatcher);
    let conn = rusqlite::Connection::open(&file).unwrap();
    let sql = "SELECT count(*) FROM delivery WHERE state <> 'dead'";
    let left: i64 = conn.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0);
}

/// Whoever reads keeps the log from beginning anew: nothing new is taken before it fills the disk.
#[tokio::test]
async fn an_old_view_of_the_file_does_not_let_the_log_grow_for_ever() {
    const MIB: usize = 1 << 20;
    let (folder, receiver) = (Folder::new(), Receiver::start(SILENT).await);
    let dispatcher = dispatcher()
        .with_outbox(folder.outbox())
        .with_accept_timeout(Duration::from_millis(500))
        .build();
    let policy = EndpointPolicy::public()
        .with_insecure_http()
        .with_insecure_private_networks();
    let deliver = async || {
        let endpoint = policy.check(&receiver.url()).unwrap();
        let payload = Payload::from(bytes::Bytes::from(vec![b'x'; MIB]));
        let parts = DeliveryParts::new(endpoint, payload);
        dispatcher.deliver(parts).await.unwrap();
        dispatcher.counts().outbox_failed
    };
    deliver().await;
    let reader = rusqlite::Connection::open(folder.file()).unwrap();
    let count = "BEGIN; SELECT count(*) FROM delivery;";
    reader.execute_batch(count).unwrap();
    let mut taken = 0;
    while deliver().await == 0 {
        taken += 1;
        assert!(taken < 100, "the log has no bound");
    }
    let log = std::fs::metadata(folder.log()).unwrap().len() as usize;
    assert!((32 * MIB..72 * MIB).contains(&log), "{log}");

    reader.execute_batch("COMMIT").unwrap();
    let failed = dispatcher.counts().outbox_failed;
    assert_eq!(deliver().await, failed);
    dispatcher.shutdown(Duration::ZERO).await;
}
