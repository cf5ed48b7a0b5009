//! Somebody can write the file, and has no key.

use std::{error::Error, sync::atomic::Ordering};

use tower_webhook::{
    RetryPolicy,
    outbox::{DeliveryFilter, Page},
};
use tower_webhook_sqlite::{SqliteOutbox, SqliteOutboxErrorKind as Kind};

use crate::scene::{
    Folder, Receiver, call, counting, dispatcher, key, leave, until, until_in_file,
};

/// A receiver, and a file in which one delivery waits for it that has had one attempt.
async fn left() -> (Folder, Receiver) {
    let (folder, receiver) = (Folder::new(), Receiver::start(500).await);
    leave(&folder, &receiver, &["sealed"]).await;
    (folder, receiver)
}

/// Opens the file, and waits until everything in it is dead; nothing is sent.
async fn dies_unsent(folder: &Folder, receiver: &Receiver, what: &str) {
    let before = receiver.posts().len();
    let opened = SqliteOutbox::builder(folder.file())
        .with_key(key(1))
        .with_lost_keys()
        .open();
    let dispatcher = dispatcher().with_outbox(opened.unwrap()).build();
    dispatcher.start();
    until_in_file(|| folder.count("state <> 'dead'") == 0).await;
    assert_eq!(receiver.posts().len(), before, "{what}");
    assert_eq!(folder.count("reason IS NULL"), 0, "{what}");
}

#[tokio::test]
async fn a_delivery_under_another_spelling_of_its_id_dies_unsent() {
    for change in ["upper(id)", "replace(id, '-', '')", "'urn:uuid:' || id"] {
        let (folder, receiver) = left().await;
        folder.sql(&format!("UPDATE delivery SET id = {change}"));
        dies_unsent(&folder, &receiver, change).await;
    }
}

#[tokio::test]
async fn payloads_and_envelopes_that_changed_places_die_unsent() {
    for change in [
        "UPDATE payload SET seq = -seq; UPDATE payload SET seq = 3 + seq",
        "CREATE TEMP TABLE was AS SELECT * FROM delivery;
         UPDATE delivery SET envelope = (SELECT envelope FROM was WHERE was.seq <> delivery.seq)",
    ] {
        let (folder, receiver) = (Folder::new(), Receiver::start(500).await);
        leave(&folder, &receiver, &["a", "b"]).await;
        folder.sql(change);
        dies_unsent(&folder, &receiver, change).await;
    }
}

#[tokio::test]
async fn a_copy_under_another_id_dies_unsent() {
    let (folder, receiver) = left().await;
    folder.sql(
        "INSERT INTO delivery (id, request_id, state, host, status, envelope, key, payload_len,
             accepted_at, due_at)
         SELECT '01a22b5c-76eb-74a2-9389-ca98a35c1705', request_id, state, host, status, envelope,
             key, payload_len, accepted_at, due_at FROM delivery;
         INSERT INTO payload SELECT 2, body FROM payload;
         DELETE FROM delivery WHERE seq = 1",
    );
    dies_unsent(&folder, &receiver, "copied").await;
}

/// It is whole, and of this payload and this id: but nobody has sealed it.
#[tokio::test]
async fn what_is_written_in_the_clear_dies_unsent_where_there_is_a_key() {
    let (folder, receiver) = (Folder::new(), Receiver::start(500).await);
    let clear = SqliteOutbox::builder(folder.file()).with_insecure_plaintext();
    let first = dispatcher()
        .with_outbox(clear.open().unwrap())
        .with_retry_policy(RetryPolicy::standard_webhooks())
        .build();
    call(&first, "clear", &receiver.url()).await;
    until_in_file(|| folder.count("state = 'waiting' AND attempt = 2") == 1).await;
    drop(first);
    let name = {
        let other = Folder::new();
        leave(&other, &receiver, &["sealed"]).await;
        other.text("SELECT key FROM delivery")
    };
    folder.sql(&format!("UPDATE delivery SET due_at = 0, key = '{name}'"));
    dies_unsent(&folder, &receiver, "in the clear").await;
    folder.sql(&format!(
        "UPDATE delivery SET state = 'waiting', due_at = 0, envelope =
             CAST(substr(envelope, 1, 1) || x'{name}' || substr(envelope, 10) AS BLOB)"
    ));
    dies_unsent(&folder, &receiver, "named as if it were sealed").await;
}

#[tokio::test]
async fn a_schema_that_is_not_ours_is_refused() {
    for change in [
        "CREATE TRIGGER t BEFORE DELETE ON delivery BEGIN SELECT RAISE(ABORT, 'no'); END",
        "CREATE TRIGGER t AFTER INSERT ON delivery BEGIN UPDATE delivery SET due_at = 0; END",
        "CREATE VIEW v AS SELECT * FROM delivery",
        "CREATE TABLE more (x)",
        "CREATE INDEX i ON delivery (json(reason))",
        "CREATE UNIQUE INDEX i ON delivery (host)",
        "DROP INDEX delivery_due",
        "ALTER TABLE delivery ADD COLUMN more TEXT",
        "ALTER TABLE payload RENAME COLUMN body TO bytes",
        "ALTER TABLE payload RENAME TO was; CREATE VIEW payload AS SELECT * FROM was",
        "DROP TABLE attempt",
        "PRAGMA writable_schema = ON; UPDATE sqlite_schema
             SET sql = replace(sql, '(state = ', '(state = ''gone'' OR state = ') WHERE name = 'delivery'",
    ] {
        let (folder, _receiver) = left().await;
        folder.sql(change);
        let error = SqliteOutbox::open(folder.file(), key(1)).unwrap_err();
        assert_eq!(error.kind(), Kind::ChangedSchema, "{change}");
        let source = error.source().unwrap().to_string();
        assert!(
            source.contains("trigger") || !change.contains("TRIGGER"),
            "{source}"
        );
    }
}

#[tokio::test]
async fn statistics_and_a_vacuum_of_the_operators_are_no_other_schema() {
    let (folder, receiver) = left().await;
    folder.sql("ANALYZE; VACUUM");
    receiver.answer(200);
    let (dispatcher, failures) = counting(folder.outbox());
    dispatcher.start();
    until(|| dispatcher.counts().delivered == 1).await;
    folder.sql("DROP TABLE sqlite_stat1; VACUUM");
    call(&dispatcher, "after", &receiver.url()).await;
    until(|| dispatcher.counts().delivered == 2).await;
    assert_eq!(failures.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_trigger_that_comes_later_does_nothing_and_is_told() {
    let (folder, receiver) = (Folder::new(), Receiver::start(404).await);
    let (first, failures) = counting(folder.outbox());
    call(&first, "waits", &receiver.url()).await;
    until_in_file(|| folder.count("state = 'waiting' AND attempt = 2") == 1).await;
    receiver.answer(200);
    // Whatever is leased would be due again at once, and nothing could be removed.
    folder.sql(
        "BEGIN IMMEDIATE;
         UPDATE delivery SET due_at = 0;
         CREATE TRIGGER t AFTER UPDATE ON delivery BEGIN
             UPDATE delivery SET state = 'waiting', attempt = 1, due_at = 0; END;
         CREATE TRIGGER u BEFORE DELETE ON delivery BEGIN SELECT RAISE(ABORT, 'no'); END;
         COMMIT",
    );
    until_in_file(|| folder.count("TRUE") == 0).await;
    assert!(receiver.posts().len() <= 3);
    assert_eq!(failures.load(Ordering::SeqCst), 0);
    // Nothing new is put into such a file.
    let before = receiver.posts().len();
    assert_eq!(call(&first, "after", &receiver.url()).await, 200);
    receiver.gets(before + 1).await;
    until(|| failures.load(Ordering::SeqCst) == 1).await;
    assert_eq!(folder.count("TRUE"), 0);
    drop(first);
    let reopened = SqliteOutbox::open(folder.file(), key(1));
    assert_eq!(reopened.unwrap_err().kind(), Kind::ChangedSchema);
}

#[tokio::test]
async fn attempts_of_which_the_file_says_nonsense_are_counted_all_the_same() {
    for attempt in ["-1000000", "0", "4294967296", "9223372036854775807"] {
        let (folder, receiver) = left().await;
        folder.sql(&format!("UPDATE delivery SET attempt = {attempt}"));
        let dispatcher = dispatcher()
            .with_outbox(folder.outbox())
            .with_retry_policy(RetryPolicy::standard_webhooks())
            .build();
        dispatcher.start();
        receiver.gets(2).await;
        until_in_file(|| folder.count("state = 'dead' OR state = 'waiting' AND attempt = 2") == 1)
            .await;
        assert_eq!(receiver.posts().len(), 2, "{attempt}");
    }
}

#[tokio::test]
async fn records_with_nonsense_in_them_keep_no_list_from_being_read() {
    let (folder, receiver) = left().await;
    call(&folder.dispatcher(), "other", &receiver.url()).await;
    for change in [
        "UPDATE attempt SET attempt = -1, started_at = -9223372036854775808, took_us = -1,
             status = -5, retry_after = -1",
        "UPDATE attempt SET attempt = 9223372036854775807, started_at = 9223372036854775807,
             took_us = 9223372036854775807, error = CAST(x'ff' AS TEXT), status = NULL",
        "UPDATE delivery SET payload_len = -1, accepted_at = 9223372036854775807",
        "UPDATE delivery SET status = 70000",
        "UPDATE delivery SET accepted_at = -9223372036854775808, host = CAST(x'ff' AS TEXT)",
    ] {
        folder.sql(change);
        let all = folder
            .dispatcher()
            .deliveries(&DeliveryFilter::new(), Page::first(9))
            .await;
        assert!(all.is_ok(), "{change}: {all:?}");
    }
}
