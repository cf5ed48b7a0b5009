use std::time::{Duration, SystemTime};

use http::StatusCode;
use tower_webhook::{
    DeliveryId,
    event::Outcome,
    outbox::{DeliveryFilter, DeliveryState, Page},
};
use tower_webhook_sqlite::SqliteOutbox;

use crate::scene::{Folder, Receiver, call, delivery_id, key, until, until_in_file};

const ALL: Page = Page::first(100);

fn dead() -> DeliveryFilter {
    DeliveryFilter::new().with_state(DeliveryState::Dead)
}

#[tokio::test]
async fn a_dead_letter_has_its_attempts() {
    let (folder, receiver) = (Folder::new(), Receiver::start(404).await);
    let dispatcher = folder.dispatcher();
    let before = SystemTime::now() - Duration::from_secs(1);
    call(&dispatcher, "lost", &receiver.url()).await;
    until(|| dispatcher.counts().dead == 1).await;

    let letters = dispatcher.deliveries(&dead(), ALL).await.unwrap();
    let letter = &letters[0];
    assert_eq!((letters.len(), letter.request_id.as_str()), (1, "lost"));
    assert_eq!(letter.host.as_str(), "127.0.0.1");
    assert_eq!(letter.payload_len, "the result of lost".len());
    assert_eq!(letter.state, DeliveryState::Dead);
    assert!(letter.accepted_at > before && letter.accepted_at <= SystemTime::now());
    let numbers: Vec<_> = letter
        .attempts
        .iter()
        .map(|attempt| attempt.attempt)
        .collect();
    assert_eq!(numbers, [1, 2, 3]);
    for attempt in &letter.attempts {
        let answered = Outcome::answered(StatusCode::NOT_FOUND, None);
        assert_eq!(attempt.outcome, answered);
        assert!(attempt.at > before && attempt.took > Duration::ZERO);
    }
}

#[tokio::test]
async fn a_dead_letter_is_delivered_again_by_its_id() {
    let (folder, receiver) = (Folder::new(), Receiver::start(400).await);
    let first = folder.dispatcher();
    for id in ["a", "b"] {
        call(&first, id, &receiver.url()).await;
    }
    until(|| first.counts().dead == 2).await;
    drop(first);

    // By another run, which was not there when it died.
    receiver.answer(200);
    let second = folder.dispatcher();
    let id = delivery_id(&second, "a").await;
    assert!(second.redeliver(id).await.unwrap());
    let posts = receiver.gets(3).await;
    assert_eq!((posts[2].id.as_str(), posts[2].attempt), ("a", 1));
    assert!(posts[2].signed);
    until(|| second.counts().delivered == 1).await;
    assert!(!second.redeliver(id).await.unwrap());
    assert!(!second.redeliver(DeliveryId::fresh()).await.unwrap());
    assert_eq!(folder.count("state = 'dead'"), 1);
}

#[tokio::test]
async fn dead_letters_are_delivered_again_by_host_and_time() {
    let (folder, receiver) = (Folder::new(), Receiver::start(400).await);
    let elsewhere = receiver.url().replace("127.0.0.1", "localhost");
    let dispatcher = folder.dispatcher();
    for (id, url) in [
        ("old", receiver.url()),
        ("new", receiver.url()),
        ("other", elsewhere),
    ] {
        call(&dispatcher, id, &url).await;
    }
    until(|| dispatcher.counts().dead == 3).await;
    folder.sql("UPDATE delivery SET accepted_at = accepted_at - 7200000 WHERE request_id = 'old'");
    receiver.answer(200);

    let hour_ago = SystemTime::now() - Duration::from_secs(3_600);
    let here = dead().with_endpoint_host("127.0.0.1");
    let count =
        async |filter: &DeliveryFilter| dispatcher.deliveries(filter, ALL).await.unwrap().len();
    assert_eq!(count(&here).await, 2);
    let one = dispatcher.deliveries(&here, Page::first(1)).await.unwrap();
    assert_eq!((one.len(), one[0].request_id.as_str()), (1, "new"));
    assert_eq!(count(&here.clone().accepted_before(hour_ago)).await, 1);
    let recent = here.accepted_since(hour_ago);
    assert_eq!(dispatcher.redeliver_all(&recent).await.unwrap(), 1);
    assert_eq!(receiver.gets(4).await[3].id, "new");
    until(|| dispatcher.counts().delivered == 1).await;
    assert_eq!(
        folder.count("state = 'dead' AND request_id IN ('old', 'other')"),
        2
    );
}

#[tokio::test]
async fn a_redelivery_that_fails_adds_to_the_record() {
    let (folder, receiver) = (Folder::new(), Receiver::start(400).await);
    let dispatcher = folder.dispatcher();
    call(&dispatcher, "again", &receiver.url()).await;
    until(|| dispatcher.counts().dead == 1).await;
    dispatcher.redeliver_all(&dead()).await.unwrap();
    until(|| dispatcher.counts().dead == 2).await;
    let letters = dispatcher.deliveries(&dead(), ALL).await.unwrap();
    let numbers: Vec<_> = letters[0]
        .attempts
        .iter()
        .map(|attempt| attempt.attempt)
        .collect();
    assert_eq!(numbers, [1, 1]);
}

#[tokio::test]
async fn old_dead_letters_go_and_the_file_shrinks() {
    let (folder, receiver) = (Folder::new(), Receiver::start(400).await);
    let dispatcher = folder.dispatcher();
    call(&dispatcher, "young", &receiver.url()).await;
    until(|| dispatcher.counts().dead == 1).await;
    dispatcher.shutdown(Duration::from_secs(1)).await;
    drop(dispatcher);
    let columns =
        "id, request_id, state, host, status, envelope, payload_len, accepted_at, due_at, died_at";
    folder.sql(&format!(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 600)
         INSERT INTO delivery ({columns})
             SELECT 'old-' || n, 'a', 'dead', 'a', 200, x'', 20000, 0, 0, 0 FROM n;
         INSERT INTO payload SELECT seq, randomblob(20000) FROM delivery WHERE id LIKE 'old-%';"
    ));
    let size = || std::fs::metadata(folder.file()).unwrap().len();
    assert!(size() > 12_000_000);

    let outbox = SqliteOutbox::open(folder.file(), key(1)).unwrap();
    until_in_file(|| folder.count("TRUE") == 1).await;
    assert_eq!(folder.count("request_id = 'young'"), 1);
    // What is free beyond a reserve goes back to the disk with the next checkpoint.
    until_in_file(|| {
        folder.sql("PRAGMA wal_checkpoint(TRUNCATE)");
        size() < 6_000_000
    })
    .await;
    drop(outbox);
}

#[tokio::test]
async fn dead_letters_are_bounded_in_number_and_bytes() {
    for (number, bytes, kept) in [
        (10, 1 << 30, 10),
        (1_000, 200, 200 / "the result of 00".len()),
    ] {
        let (folder, receiver) = (Folder::new(), Receiver::start(400).await);
        let outbox = SqliteOutbox::builder(folder.file())
            .with_key(key(1))
            .with_max_dead_letters(number)
            .with_max_dead_letter_bytes(bytes)
            .open();
        let dispatcher = crate::scene::dispatcher()
            .with_outbox(outbox.unwrap())
            .build();
        for n in 0..40 {
            call(&dispatcher, &format!("{n:02}"), &receiver.url()).await;
            until(|| dispatcher.counts().dead == n + 1).await;
        }
        assert_eq!(folder.count("state = 'dead'"), kept as i64);
        assert_eq!(folder.count("request_id = '39'"), 1);
        assert_eq!(folder.count("request_id = '00'"), 0);
    }
}

/// However many there are when it begins: they were kept by a process with other bounds.
#[tokio::test]
async fn dead_letters_beyond_the_bounds_go_at_the_start() {
    let folder = Folder::new();
    drop(folder.outbox());
    dead_rows(&folder, 5_000);
    let outbox = SqliteOutbox::builder(folder.file())
        .with_key(key(1))
        .with_max_dead_letters(100)
        .open()
        .unwrap();
    until_in_file(|| folder.count("TRUE") == 100).await;
    assert_eq!(folder.count("id = 'old-5000'"), 1);
    drop(outbox);
}

/// Each is revived once, though it dies again at once.
#[tokio::test]
async fn a_redelivery_of_very_many_ends() {
    let folder = Folder::new();
    drop(folder.outbox());
    dead_rows(&folder, 3_000);
    let dispatcher = folder.dispatcher();
    dispatcher.start();
    // None of them can be read.
    assert_eq!(dispatcher.redeliver_all(&dead()).await.unwrap(), 3_000);
}

fn dead_rows(folder: &Folder, number: usize) {
    let columns =
        "id, request_id, state, host, status, envelope, payload_len, accepted_at, due_at, died_at";
    folder.sql(&format!(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {number})
         INSERT INTO delivery ({columns})
             SELECT 'old-' || n, 'a', 'dead', 'a', 200, x'', 4, 0, 0,
                    unixepoch() * 1000 - {number} + n FROM n;
         INSERT INTO payload SELECT seq, x'01020304' FROM delivery WHERE id LIKE 'old-%';"
    ));
}
