//! Pages that a look at the file when it is opened does not find.

use std::time::Duration;

use tower_webhook_sqlite::{SqliteOutbox, SqliteOutboxBuilder};

use crate::scene::{Folder, Receiver, call, dispatcher, key, leave, until_in_file};

/// More rows than are changed at once.
const ROWS: i64 = 600;
/// More than there are in a page, and fewer than there are in two steps.
const FEW: i64 = 40;

/// A file with so many deliveries in this state.
fn with_rows(state: &str, other_columns: &str) -> Folder {
    let folder = Folder::new();
    drop(folder.outbox());
    folder.sql(&format!(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {ROWS})
         INSERT INTO delivery (id, request_id, state, host, status, envelope, payload_len,
                               accepted_at, due_at, owner, token, died_at)
             SELECT printf('019a0000-0000-7000-8000-%012x', n), 'a', '{state}', 'a', 200,
                 randomblob(300), 300, 0, {other_columns} FROM n;
         INSERT INTO payload SELECT seq, randomblob(300) FROM delivery;
         INSERT INTO attempt SELECT seq, 1, 0, 0, 500, NULL, NULL FROM delivery;"
    ));
    folder
}

fn builder(folder: &Folder) -> SqliteOutboxBuilder {
    SqliteOutbox::builder(folder.file())
        .with_key(key(1))
        .with_lost_keys()
}

/// What cannot be removed must not be sent again and again, nor hold others up.
#[tokio::test]
async fn deliveries_whose_end_cannot_be_noted_are_buried() {
    let (folder, receiver) = (Folder::new(), Receiver::start(500).await);
    leave(&folder, &receiver, &["a", "b", "c", "d"]).await;
    folder.damage("attempt");
    receiver.answer(200);
    let dispatcher = folder.dispatcher();
    dispatcher.start();
    until_in_file(|| folder.count("state = 'dead' AND reason LIKE '%not be noted%'") == 4).await;
    drop(dispatcher);
    let next = folder.dispatcher();
    call(&next, "e", &receiver.url()).await;
    receiver.gets(9).await;
    assert_eq!(receiver.posts().len(), 9);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_keeps_no_other_from_being_sent() {
    let (folder, receiver) = (Folder::new(), Receiver::start(500).await);
    leave(&folder, &receiver, &["a", "b"]).await;
    folder.damage("payload");
    let dispatcher = folder.dispatcher();
    dispatcher.start();
    until_in_file(|| folder.count("state = 'dead' AND reason LIKE '%cannot be read%'") == 2).await;
    assert_eq!(receiver.posts().len(), 2);
}

#[tokio::test]
async fn dead_letters_that_cannot_be_removed_keep_no_others_from_expiring() {
    let folder = with_rows("dead", "0, NULL, NULL, 0");
    folder.damage_few("payload");
    let outbox = builder(&folder).open().unwrap();
    until_in_file(|| folder.count("state = 'dead'") < FEW).await;
    assert!(folder.count("state = 'dead'") > 0);
    drop(outbox);
    let folder = with_rows("dead", "0, NULL, NULL, 0");
    folder.damage("attempt");
    let _outbox = builder(&folder).open().unwrap();
    until_in_file(|| folder.count("state = 'dead'") == 0).await;
}

/// What dies has other dead letters removed in the same transaction.
#[tokio::test]
async fn dead_letters_that_cannot_be_removed_keep_nothing_else_from_being_settled() {
    let folder = with_rows("dead", "0, NULL, NULL, unixepoch() * 1000");
    let receiver = Receiver::start(410).await;
    folder.damage_few("payload");
    let outbox = builder(&folder).with_max_dead_letters(FEW as usize).open();
    let dispatcher = dispatcher().with_outbox(outbox.unwrap()).build();
    for request in ["a", "b", "c"] {
        call(&dispatcher, request, &receiver.url()).await;
    }
    until_in_file(|| folder.count("state = 'dead'") <= FEW).await;
    until_in_file(|| folder.count("state <> 'dead'") == 0).await;
    assert_eq!(receiver.posts().len(), 3);
}

#[tokio::test]
async fn deliveries_that_cannot_be_freed_keep_no_others_from_being_taken_over() {
    let folder = with_rows("leased", "unixepoch() * 2000, 7, 1, NULL");
    folder.sql("INSERT INTO owner (id, pid, since, beat, silent) VALUES (7, 7, 0, 3, 1000)");
    folder.damage_few("delivery");
    let _outbox = builder(&folder)
        .with_lease(Duration::from_secs(3))
        .open()
        .unwrap();
    until_in_file(|| folder.count("state = 'leased'") < FEW).await;
    assert!(folder.count("state = 'leased'") > 0);
    assert_eq!(
        folder.text("SELECT CAST(count(*) AS TEXT) FROM owner"),
        "0",
        "it is gone"
    );
}

/// The clock was set back while nobody looked.
#[tokio::test]
async fn due_times_that_cannot_be_changed_keep_no_others_from_following_the_clock() {
    let folder = with_rows("waiting", "unixepoch() * 2000, NULL, NULL, NULL");
    folder.damage_few("delivery");
    let _outbox = builder(&folder).open().unwrap();
    let late = "state = 'waiting' AND due_at > unixepoch() * 1500";
    until_in_file(|| folder.count(late) < FEW).await;
    assert!(folder.count(late) > 0);
}
