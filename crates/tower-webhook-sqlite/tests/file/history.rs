use std::time::Duration;

use tower_webhook::{
    Dispatcher,
    outbox::{DeliveryFilter, DeliveryRecord, DeliveryState, Page},
};
use tower_webhook_sqlite::{SqliteOutbox, SqliteOutboxBuilder};

use crate::scene::{
    Folder, Receiver, SECRET, call, call_with, delivery_id, dispatcher, key, until, until_in_file,
};

const ALL: Page = Page::first(1_000);

fn delivered() -> DeliveryFilter {
    DeliveryFilter::new().with_state(DeliveryState::Delivered)
}

fn open(
    folder: &Folder,
    set: impl FnOnce(SqliteOutboxBuilder) -> SqliteOutboxBuilder,
) -> Dispatcher {
    let builder = SqliteOutbox::builder(folder.file()).with_key(key(1));
    let outbox = set(builder).open().unwrap();
    dispatcher().with_outbox(outbox).build()
}

async fn deliver(dispatcher: &Dispatcher, receiver: &Receiver, ids: &[&str]) {
    for id in ids {
        let before = dispatcher.counts().delivered;
        call(dispatcher, id, &receiver.url()).await;
        until(|| dispatcher.counts().delivered > before).await;
    }
}

async fn listed(dispatcher: &Dispatcher, filter: &DeliveryFilter) -> Vec<DeliveryRecord> {
    dispatcher.deliveries(filter, ALL).await.unwrap()
}

async fn ids(dispatcher: &Dispatcher) -> Vec<String> {
    let found = listed(dispatcher, &delivered()).await;
    let ids = found.iter().map(|record| record.request_id.to_string());
    ids.collect()
}

#[tokio::test]
async fn what_was_delivered_is_known_to_the_next_process() {
    let (folder, receiver) = (Folder::new(), Receiver::start(200).await);
    let first = folder.dispatcher();
    call(&first, "again", &receiver.url_not_at_first()).await;
    until(|| first.counts().delivered == 1).await;
    first.shutdown(Duration::from_secs(5)).await;
    drop(first);

    let second = folder.dispatcher();
    let found = listed(&second, &delivered()).await;
    let [record] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(record.request_id.as_str(), "again");
    assert_eq!(record.host.as_str(), "127.0.0.1");
    assert_eq!(record.payload_len, "the result of again".len());
    let numbers = record.attempts.iter().map(|attempt| attempt.attempt);
    assert_eq!(numbers.collect::<Vec<_>>(), [1, 2]);
    let known = second.delivery(record.id).await.unwrap().unwrap();
    assert_eq!(known.state, DeliveryState::Delivered);
    for other in [
        DeliveryState::Running,
        DeliveryState::Waiting,
        DeliveryState::Dead,
        DeliveryState::Failed,
    ] {
        let other = DeliveryFilter::new().with_state(other);
        assert!(listed(&second, &other).await.is_empty());
    }
    // Without its payload, which is not in the file either.
    assert!(second.payload(record.id).await.unwrap().is_none());
    assert!(!second.redeliver(record.id).await.unwrap());
    second.shutdown(Duration::from_secs(5)).await;
    drop(second);
    until_in_file(|| !folder.log().exists()).await;
    let bytes = folder.bytes();
    for gone in ["the result of", SECRET] {
        let is_there = bytes
            .windows(gone.len())
            .any(|part| part == gone.as_bytes());
        assert!(!is_there, "{gone}");
    }
}

#[tokio::test]
async fn a_history_is_bounded_in_number_bytes_and_time() {
    let receiver = Receiver::start(200).await;
    let all = ["1", "2", "3", "4", "5", "6"];

    let folder = Folder::new();
    let few = open(&folder, |builder| builder.with_max_history(3));
    deliver(&few, &receiver, &all).await;
    assert_eq!(ids(&few).await, ["6", "5", "4"]);

    let folder = Folder::new();
    let small = open(&folder, |builder| {
        builder
            .with_history_payloads()
            .with_max_history_bytes(20_000)
    });
    for id in all {
        let before = small.counts().delivered;
        call_with(&small, id, &receiver.url(), "x".repeat(9_000)).await;
        until(|| small.counts().delivered > before).await;
    }
    assert_eq!(ids(&small).await, ["6", "5"]);
    // One that is larger than all of it comes without its payload.
    call_with(&small, "large", &receiver.url(), "x".repeat(30_000)).await;
    until(|| small.counts().delivered == 7).await;
    assert_eq!(ids(&small).await[0], "large");
    let large = delivery_id(&small, "large").await;
    assert!(small.payload(large).await.unwrap().is_none());

    let folder = Folder::new();
    let short = open(&folder, |builder| {
        builder.with_history_kept(Duration::from_secs(3_600))
    });
    deliver(&short, &receiver, &all[..3]).await;
    folder.sql("UPDATE history SET ended_at = ended_at - 7200000 WHERE request_id < '3'");
    deliver(&short, &receiver, &["4"]).await;
    assert_eq!(ids(&short).await, ["4", "3"]);

    let folder = Folder::new();
    let none = open(&folder, |builder| builder.with_max_history(0));
    deliver(&none, &receiver, &all[..2]).await;
    assert_eq!(folder.count_in("history", "TRUE"), 0);
}

#[tokio::test]
async fn what_was_delivered_is_delivered_again_where_its_payload_is_kept() {
    let (folder, receiver) = (Folder::new(), Receiver::start(200).await);
    let dispatcher = open(&folder, SqliteOutboxBuilder::with_history_payloads);
    deliver(&dispatcher, &receiver, &["a", "b", "c"]).await;
    let a = delivery_id(&dispatcher, "a").await;
    let payload = dispatcher.payload(a).await.unwrap().unwrap();
    assert_eq!(payload.to_bytes(), "the result of a");

    assert!(dispatcher.redeliver(a).await.unwrap());
    until(|| dispatcher.counts().delivered == 4).await;
    let posts = receiver.posts();
    assert_eq!((&*posts[3].id, posts[3].attempt), ("a", 1));
    assert_eq!(posts[3].body, "the result of a");
    assert!(posts[3].signed);
    let record = dispatcher.delivery(a).await.unwrap().unwrap();
    let numbers = record.attempts.iter().map(|attempt| attempt.attempt);
    assert_eq!(numbers.collect::<Vec<_>>(), [1, 1]);
    assert_eq!(listed(&dispatcher, &delivered()).await.len(), 3);

    // All is what is dead, unless something else is asked for.
    let everything = DeliveryFilter::new();
    assert_eq!(dispatcher.redeliver_all(&everything).await.unwrap(), 0);
    let number = dispatcher.redeliver_all(&delivered()).await.unwrap();
    assert_eq!(number, 3);
    until(|| dispatcher.counts().delivered == 7).await;
    assert_eq!(folder.count("TRUE"), 0);
}

#[tokio::test]
async fn a_call_without_a_request_id_is_found_by_that_of_its_delivery() {
    let (folder, receiver) = (Folder::new(), Receiver::start(200).await);
    let dispatcher = open(&folder, SqliteOutboxBuilder::with_history_payloads);
    // The last one is none that can be kept.
    deliver(&dispatcher, &receiver, &["a", "b", "not.kept"]).await;
    let all = listed(&dispatcher, &delivered()).await;
    assert_eq!(all[0].request_id.as_str(), all[0].id.to_string());
    assert_eq!(all[1].request_id.as_str(), "b");
    for record in &all {
        let of_it = DeliveryFilter::new().with_request_id(record.request_id.clone());
        let found = listed(&dispatcher, &of_it).await;
        let found: Vec<_> = found.iter().map(|found| found.id).collect();
        assert_eq!(found, [record.id]);
    }

    let last = delivered().with_request_id(all[0].request_id.clone());
    assert_eq!(dispatcher.redeliver_all(&last).await.unwrap(), 1);
    until(|| dispatcher.counts().delivered == 4).await;
    let again = dispatcher.delivery(all[0].id).await.unwrap().unwrap();
    assert_eq!(again.request_id, all[0].request_id);
    assert_eq!(again.attempts.len(), 2);
}

#[tokio::test]
async fn many_that_were_delivered_are_delivered_again_in_steps() {
    const MANY: usize = 300;
    let (folder, receiver) = (Folder::new(), Receiver::start(200).await);
    let dispatcher = open(&folder, SqliteOutboxBuilder::with_history_payloads);
    for n in 0..MANY {
        call(&dispatcher, &n.to_string(), &receiver.url()).await;
    }
    until(|| dispatcher.counts().delivered == MANY as u64).await;
    let number = dispatcher.redeliver_all(&delivered()).await.unwrap();
    assert_eq!(number, MANY);
    until(|| dispatcher.counts().delivered == 2 * MANY as u64).await;
    assert_eq!(folder.count_in("history", "TRUE"), MANY as i64);
}

#[tokio::test]
async fn a_history_that_is_damaged_keeps_nothing_from_being_delivered() {
    let (folder, receiver) = (Folder::new(), Receiver::start(200).await);
    let first = folder.dispatcher();
    deliver(&first, &receiver, &["1", "2"]).await;
    first.shutdown(Duration::from_secs(5)).await;
    drop(first);
    until_in_file(|| !folder.log().exists()).await;
    folder.damage("history");

    let second = folder.dispatcher();
    for id in ["3", "4", "5"] {
        call(&second, id, &receiver.url()).await;
    }
    until(|| second.counts().delivered == 3).await;
    until_in_file(|| folder.count("TRUE") == 0).await;
    assert_eq!(receiver.posts().len(), 5);
}
