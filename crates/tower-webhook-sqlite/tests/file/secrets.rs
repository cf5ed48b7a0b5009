use std::{collections::HashSet, fs, sync::Barrier, thread};

use tower_webhook::{
    RetryPolicy,
    event::{AttemptError, Outcome},
    outbox::{DeliveryFilter, DeliveryState, Page, SealingKey},
};
use tower_webhook_sqlite::{SqliteOutbox, SqliteOutboxError, SqliteOutboxErrorKind as Kind};

use crate::scene::{Folder, Receiver, SECRET, call, dispatcher, key, leave, until, until_in_file};

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|part| part == text.as_bytes())
}

fn kind(opened: Result<SqliteOutbox, SqliteOutboxError>) -> Kind {
    opened.unwrap_err().kind()
}

#[tokio::test]
async fn a_sealed_secret_is_nowhere_in_the_files() {
    let (folder, receiver) = (Folder::new(), Receiver::start(500).await);
    leave(&folder, &receiver, &["sealed"]).await;
    let bytes = folder.bytes();
    assert!(contains(&bytes, "the result of sealed"));
    assert!(!contains(&bytes, SECRET));
    assert_eq!(
        folder.count("length(envelope) > 64 AND length(key) = 16"),
        1
    );
}

#[tokio::test]
async fn without_a_key_it_does_not_start_unless_told_otherwise() {
    let (folder, receiver) = (Folder::new(), Receiver::start(500).await);
    assert_eq!(
        kind(SqliteOutbox::builder(folder.file()).open()),
        Kind::NoKey
    );
    assert!(!folder.file().exists());

    let outbox = SqliteOutbox::builder(folder.file())
        .with_insecure_plaintext()
        .open()
        .unwrap();
    let dispatcher = dispatcher()
        .with_outbox(outbox)
        .with_retry_policy(RetryPolicy::standard_webhooks())
        .build();
    call(&dispatcher, "clear", &receiver.url()).await;
    assert!(contains(&folder.bytes(), SECRET));
    assert!(receiver.gets(1).await[0].signed);
}

#[tokio::test]
async fn a_new_key_opens_what_an_older_one_has_sealed() {
    let (folder, receiver) = (Folder::new(), Receiver::start(500).await);
    leave(&folder, &receiver, &["sealed"]).await;
    receiver.answer(200);
    let outbox = SqliteOutbox::open(folder.file(), key(2).with_older_key(key(1))).unwrap();
    let dispatcher = dispatcher().with_outbox(outbox).build();
    dispatcher.start();
    let posts = receiver.gets(2).await;
    assert!(posts[1].signed);
    until(|| dispatcher.counts().delivered == 1).await;
}

#[tokio::test]
async fn a_wrong_key_is_an_error_at_the_start() {
    let (folder, receiver) = (Folder::new(), Receiver::start(500).await);
    leave(&folder, &receiver, &["sealed"]).await;
    assert_eq!(
        kind(SqliteOutbox::open(folder.file(), key(2))),
        Kind::UnknownKey
    );
    assert_eq!(folder.count("state = 'waiting'"), 1);
}

#[tokio::test]
async fn what_a_lost_key_has_sealed_dies_unsent_and_comes_back_with_the_key() {
    let (folder, receiver) = (Folder::new(), Receiver::start(500).await);
    leave(&folder, &receiver, &["sealed"]).await;
    let lost = SqliteOutbox::builder(folder.file())
        .with_key(key(2))
        .with_lost_keys()
        .open()
        .unwrap();
    let without = dispatcher().with_outbox(lost).build();
    without.start();
    until(|| without.counts().dead == 1).await;
    assert_eq!(receiver.posts().len(), 1, "never sent unsigned");
    let dead = DeliveryFilter::new().with_state(DeliveryState::Dead);
    let letters = without.deliveries(&dead, Page::first(9)).await.unwrap();
    let last = letters[0].attempts.last().unwrap();
    assert_eq!(last.outcome, Outcome::Failed(AttemptError::Unreadable));
    assert_eq!(
        folder.count("state = 'dead' AND reason LIKE '%cannot be read%'"),
        1
    );
    drop(without);

    receiver.answer(200);
    let with = folder.dispatcher();
    assert_eq!(with.redeliver_all(&dead).await.unwrap(), 1);
    assert!(receiver.gets(2).await[1].signed);
}

#[tokio::test]
async fn a_changed_row_dies_unsent() {
    for change in [
        "UPDATE delivery SET envelope = zeroblob(60)",
        "UPDATE delivery SET envelope = x''",
        "UPDATE delivery SET envelope = substr(envelope, 1, length(envelope) - 1)",
        "UPDATE delivery SET id = 'another'",
        "UPDATE delivery SET id = '01a22b5c-76eb-74a2-9389-ca98a35c1705'",
        "UPDATE payload SET body = CAST('another result' AS BLOB)",
        "DELETE FROM payload",
    ] {
        let (folder, receiver) = (Folder::new(), Receiver::start(500).await);
        leave(&folder, &receiver, &["sealed"]).await;
        folder.sql(change);
        let dispatcher = dispatcher().with_outbox(folder.outbox()).build();
        dispatcher.start();
        until_in_file(|| folder.count("state = 'dead' AND reason IS NOT NULL") == 1).await;
        assert_eq!(receiver.posts().len(), 1, "{change}");
    }
}

/// What stands beside the envelope is for looking at.
#[tokio::test]
async fn what_is_sent_is_what_was_accepted_whatever_the_columns_say() {
    for change in [
        "host = 'elsewhere.example'",
        "status = 7",
        "request_id = 'x y'",
        "payload_len = 7",
        "key = 'x'",
    ] {
        let (folder, receiver) = (Folder::new(), Receiver::start(500).await);
        leave(&folder, &receiver, &["sealed"]).await;
        folder.sql(&format!("UPDATE delivery SET {change}"));
        receiver.answer(200);
        let opened = SqliteOutbox::builder(folder.file())
            .with_key(key(1))
            .with_lost_keys()
            .open();
        let dispatcher = dispatcher().with_outbox(opened.unwrap()).build();
        dispatcher.start();
        let posts = receiver.gets(2).await;
        assert!(posts[1].signed, "{change}");
        assert_eq!((posts[1].id.as_str(), posts[1].attempt), ("sealed", 2));
    }
}

#[test]
fn a_key_file_is_made_once_and_for_its_owner() {
    let folder = Folder::new();
    let path = folder.file();
    let made = SealingKey::from_file_or_new(&path).unwrap();
    let read = SealingKey::from_file(&path).unwrap();
    assert_eq!(format!("{made:?}"), format!("{read:?}"));
    let again = SealingKey::from_file_or_new(&path).unwrap();
    assert_eq!(format!("{made:?}"), format!("{again:?}"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    fs::write(&path, "short").unwrap();
    let short = SealingKey::from_file_or_new(&path).unwrap_err();
    assert!(short.to_string().contains("64 hexadecimal digits"));
    assert_eq!(fs::read(&path).unwrap(), b"short");
    let missing = SealingKey::from_file(path.join("missing"));
    assert!(missing.unwrap_err().to_string().contains("cannot be read"));
}

#[test]
fn a_new_key_file_is_there_whole_or_not_at_all() {
    for _ in 0..20 {
        let folder = Folder::new();
        let path = folder.file();
        let start = Barrier::new(8);
        let made = || {
            start.wait();
            format!("{:?}", SealingKey::from_file_or_new(&path).unwrap())
        };
        let keys: HashSet<_> = thread::scope(|threads| {
            let made: Vec<_> = (0..8).map(|_| threads.spawn(made)).collect();
            made.into_iter().map(|key| key.join().unwrap()).collect()
        });
        assert_eq!(keys.len(), 1);
        let left = fs::read_dir(path.parent().unwrap()).unwrap();
        assert_eq!(left.count(), 1, "nothing else is left in the folder");
    }
}
