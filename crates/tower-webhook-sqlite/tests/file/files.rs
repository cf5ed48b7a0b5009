use std::{fs, path::Path, time::Duration};

use rusqlite::Connection;
use tower_webhook::{Dispatcher, EventKind};
use tower_webhook_sqlite::{SqliteOutbox, SqliteOutboxErrorKind as Kind};

use crate::scene::{Folder, Receiver, call, dispatcher, key, moved, until, until_in_file};

fn refusal(path: &Path) -> Kind {
    let opened = SqliteOutbox::builder(path)
        .with_key(key(1))
        .with_lock_timeout(Duration::from_millis(100))
        .open();
    let error = opened.unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains(path.to_str().unwrap()), "{shown}");
    error.kind()
}

/// A file with deliveries in it, closed.
async fn filled() -> Folder {
    let folder = Folder::new();
    let dispatcher = folder.dispatcher();
    for n in 0..50 {
        call(&dispatcher, &format!("run-{n}"), "http://127.0.0.1:1/").await;
    }
    dispatcher.shutdown(Duration::from_secs(5)).await;
    drop(dispatcher);
    until_in_file(|| !folder.log().exists()).await;
    folder
}

#[test]
fn something_else_is_left_alone() {
    let folder = Folder::new();
    let path = folder.file();
    let text =
        "not a database at all, but a text that is longer than a header of one hundred bytes is";
    fs::write(&path, text.repeat(2)).unwrap();
    assert_eq!(refusal(&path), Kind::NotADatabase);
    assert_eq!(fs::read_to_string(&path).unwrap(), text.repeat(2));

    fs::remove_file(&path).unwrap();
    folder.sql("CREATE TABLE theirs (x)");
    let before = fs::read(&path).unwrap();
    assert_eq!(refusal(&path), Kind::Foreign);
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_newer_schema_is_left_alone() {
    let folder = filled().await;
    folder.sql("PRAGMA user_version = 1000");
    assert_eq!(refusal(&folder.file()), Kind::NewerSchema);
    assert!(folder.count("TRUE") > 0);
    folder.sql("PRAGMA user_version = 1");
    assert_eq!(refusal(&folder.file()), Kind::OlderSchema);
}

#[tokio::test]
async fn a_file_that_was_cut_short_is_told_and_kept() {
    let folder = filled().await;
    let whole = fs::read(folder.file()).unwrap();
    for len in [whole.len() / 2, whole.len() - 4_096, 50] {
        fs::write(folder.file(), &whole[..len]).unwrap();
        let kind = refusal(&folder.file());
        assert!(
            matches!(kind, Kind::Corrupt | Kind::NotADatabase),
            "{len}: {kind:?}"
        );
        assert_eq!(fs::metadata(folder.file()).unwrap().len(), len as u64);
    }
}

#[tokio::test]
async fn a_log_whose_file_is_empty_or_missing_is_told_and_kept() {
    let (running, folder) = (Folder::new(), Folder::new());
    let dispatcher = running.dispatcher();
    call(&dispatcher, "in-the-log", "http://127.0.0.1:1/").await;
    let log = fs::read(running.log()).unwrap();
    fs::write(folder.log(), &log).unwrap();
    assert_eq!(refusal(&folder.file()), Kind::Corrupt);
    assert!(!folder.file().exists());

    fs::write(folder.file(), "").unwrap();
    let mut paths = vec![folder.file()];
    #[cfg(unix)]
    {
        let link = folder.file().with_extension("link");
        std::os::unix::fs::symlink(folder.file(), &link).unwrap();
        paths.push(link);
    }
    for path in paths {
        assert_eq!(refusal(&path), Kind::Corrupt);
        assert_eq!(fs::metadata(folder.file()).unwrap().len(), 0);
        assert_eq!(fs::read(folder.log()).unwrap(), log);
    }

    fs::write(folder.log(), "").unwrap();
    drop(folder.outbox());
}

#[tokio::test]
async fn a_damaged_page_is_told() {
    let folder = filled().await;
    let mut bytes = fs::read(folder.file()).unwrap();
    let middle = bytes.len() / 4_096 / 2 * 4_096;
    bytes[middle..middle + 4_096].fill(0xa5);
    fs::write(folder.file(), &bytes).unwrap();
    assert_eq!(refusal(&folder.file()), Kind::Corrupt);
}

#[test]
fn a_folder_that_cannot_be_written_is_told() {
    assert_eq!(refusal(Path::new("/proc/webhooks.db")), Kind::CannotOpen);
    let folder = Folder::new();
    assert_eq!(
        refusal(&folder.file().join("no-such-folder")),
        Kind::CannotOpen
    );
    fs::create_dir(folder.file()).unwrap();
    assert_eq!(refusal(&folder.file()), Kind::CannotOpen);
}

/// Each delivery would fall back to memory.
#[tokio::test]
async fn a_file_that_can_only_be_read_is_told_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let mount = |options: &str| {
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]);
        mount.arg(folder.path()).status()
    };
    if !mount("size=1m").is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: a test of a file that can only be read needs to mount a tmpfs");
        return;
    }
    let file = folder.path().join("webhooks.db");
    for has_log in [false, true] {
        let outbox = SqliteOutbox::open(&file, key(1)).unwrap();
        let log = fs::read(file.with_extension("db-wal")).unwrap();
        drop(outbox);
        if has_log {
            fs::write(file.with_extension("db-wal"), log).unwrap();
        }
        assert!(mount("remount,ro").unwrap().success());
        let kind = refusal(&file);
        assert!(mount("remount,rw").unwrap().success());
        assert_eq!(kind, Kind::ReadOnly, "with a log: {has_log}");
    }
    let _ = std::process::Command::new("umount")
        .arg("-l")
        .arg(folder.path())
        .status();
}

#[tokio::test]
async fn a_locked_file_is_told_at_the_start() {
    let folder = filled().await;
    let other = Connection::open(folder.file()).unwrap();
    other
        .execute_batch(
            "PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; UPDATE delivery SET delay = 0;",
        )
        .unwrap();
    assert_eq!(refusal(&folder.file()), Kind::Locked);
}

/// What `dispatcher` tells while the file does not take anything: the call ends as always, and the
/// delivery is attempted from memory.
async fn falls_back(dispatcher: &Dispatcher, receiver: &Receiver, id: &str) {
    let before = receiver.posts().len();
    assert_eq!(call(dispatcher, id, &receiver.url()).await, 200);
    receiver.gets(before + 1).await;
    until(|| receiver.ids().contains(&id.to_owned())).await;
}

#[tokio::test]
async fn while_the_file_is_locked_deliveries_go_out_from_memory() {
    let (folder, receiver) = (Folder::new(), Receiver::start(200).await);
    let (failures, failed) = std::sync::mpsc::channel();
    // Once because the outbox gives up, once because the dispatcher does.
    for (lock_timeout, accept_timeout) in [(100, 5_000), (2_000, 100)] {
        let outbox = SqliteOutbox::builder(folder.file())
            .with_key(key(1))
            .with_lock_timeout(Duration::from_millis(lock_timeout))
            .open();
        let failures = failures.clone();
        let dispatcher = dispatcher()
            .with_outbox(outbox.unwrap())
            .with_accept_timeout(Duration::from_millis(accept_timeout))
            .on_event(move |event| {
                if *event.kind() == EventKind::OutboxFailed {
                    failures.send(()).unwrap();
                }
                moved();
            })
            .build();
        call(&dispatcher, "before", &receiver.url()).await;
        until(|| dispatcher.counts().delivered == 1).await;

        let other = Connection::open(folder.file()).unwrap();
        other.busy_timeout(Duration::from_secs(5)).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        falls_back(&dispatcher, &receiver, "meanwhile").await;
        failed.try_recv().unwrap();
        other.execute_batch("ROLLBACK").unwrap();

        call(&dispatcher, "after", &receiver.url()).await;
        until(|| dispatcher.counts().delivered == 3).await;
        until_in_file(|| folder.count("TRUE") == 0).await;
        assert!(failed.try_recv().is_err(), "the lock is free again");
    }
    let mut ids = receiver.ids();
    ids.sort();
    assert_eq!(
        ids,
        [
            "after",
            "after",
            "before",
            "before",
            "meanwhile",
            "meanwhile"
        ]
    );
}

/// Without its locks, an outbox is nobody to other processes: whichever closes the file deletes the log that this
/// one writes to.
#[cfg(target_os = "linux")]
#[test]
fn opening_a_file_once_more_takes_no_locks_from_those_who_have_it_open() {
    use std::os::unix::fs::MetadataExt;

    let folder = Folder::new();
    let path = folder.file();
    let locks = || {
        let inode = format!(":{} ", fs::metadata(&path).unwrap().ino());
        let locks = fs::read_to_string("/proc/locks").unwrap();
        locks.lines().filter(|line| line.contains(&inode)).count()
    };
    let _outbox = SqliteOutbox::open(&path, key(1)).unwrap();
    let held = locks();
    assert!(held > 0);
    let other = SqliteOutbox::open(&path, key(1)).unwrap();
    assert_eq!(locks(), held);
    drop(other);
    assert_eq!(locks(), held);
    // One that is refused closes it as well.
    let refused = SqliteOutbox::builder(&path).with_max_dead_letters(0).open();
    assert_eq!(refused.unwrap_err().kind(), Kind::NoKey);
    assert_eq!(locks(), held);
}
