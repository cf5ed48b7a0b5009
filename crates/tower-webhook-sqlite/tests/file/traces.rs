//! What is left of deliveries that are gone.

use std::time::Duration;

use tower_webhook::{
    Dispatcher, RequestId, RetryPolicy,
    outbox::{DeliveryFilter, Outbox},
};
use tower_webhook_sqlite::SqliteOutbox;

use crate::scene::{Folder, Receiver, SECRET, call, call_with, dispatcher, until, until_in_file};

/// How often a text is in the bytes.
fn times(bytes: &[u8], text: &str) -> usize {
    let parts = bytes.windows(text.len());
    parts.filter(|part| *part == text.as_bytes()).count()
}

fn in_the_clear(folder: &Folder) -> SqliteOutbox {
    let outbox = SqliteOutbox::builder(folder.file()).with_insecure_plaintext();
    outbox.open().unwrap()
}

fn dispatcher_of(outbox: SqliteOutbox) -> Dispatcher {
    dispatcher()
        .with_outbox(outbox)
        .with_retry_policy(RetryPolicy::standard_webhooks())
        .build()
}

fn run(n: usize) -> String {
    format!("run-{n}")
}

#[tokio::test]
async fn nothing_is_left_of_what_was_delivered() {
    let (folder, receiver) = (Folder::new(), Receiver::start(200).await);
    let dispatcher = dispatcher_of(in_the_clear(&folder));
    for n in 0..300 {
        let url = format!("{}?token=hush-{n}", receiver.url());
        call(&dispatcher, &run(n), &url).await;
    }
    until(|| dispatcher.counts().delivered == 300).await;
    // The process goes on: its log is emptied as soon as nobody writes.
    until_in_file(|| {
        let bytes = folder.bytes();
        times(&bytes, "the result of") + times(&bytes, "hush-") + times(&bytes, SECRET) == 0
    })
    .await;
}

#[tokio::test]
async fn nothing_is_left_of_large_payloads() {
    let (folder, receiver) = (Folder::new(), Receiver::start(200).await);
    let dispatcher = dispatcher_of(in_the_clear(&folder));
    for n in 0..4 {
        let text = "long-".repeat(20_000) + &n.to_string();
        call_with(&dispatcher, "large", &receiver.url(), text).await;
    }
    until(|| dispatcher.counts().delivered == 4).await;
    until_in_file(|| times(&folder.bytes(), "long-") == 0).await;
}

#[tokio::test]
async fn nothing_is_left_of_what_was_cancelled() {
    let (folder, receiver) = (Folder::new(), Receiver::start(500).await);
    let dispatcher = dispatcher_of(in_the_clear(&folder));
    for n in 0..50 {
        call(&dispatcher, &run(n), &receiver.url()).await;
    }
    until_in_file(|| folder.count("state = 'waiting' AND attempt = 2") == 50).await;
    let all = DeliveryFilter::new();
    assert_eq!(in_the_clear(&folder).cancel(all).await.unwrap(), 50);
    until_in_file(|| times(&folder.bytes(), "the result of") == 0).await;
}

/// Those that are in it as `<<000>>`, in one pass.
fn numbers(bytes: &[u8]) -> std::collections::HashSet<&[u8]> {
    let marks = bytes.windows(7).filter(|mark| mark.starts_with(b"<<"));
    let marks = marks.filter(|mark| mark.ends_with(b">>"));
    marks.map(|mark| &mark[2..5]).collect()
}

/// In whatever order they end, and while others wait.
#[tokio::test]
async fn only_what_waits_is_left() {
    let (folder, receiver) = (Folder::new(), Receiver::start(500).await);
    let dispatcher = dispatcher_of(in_the_clear(&folder));
    for n in 0..120 {
        let text = format!("<<{n:03}>>").repeat(150);
        call_with(&dispatcher, &run(n), &receiver.url(), text).await;
    }
    until_in_file(|| folder.count("state = 'waiting' AND attempt = 2") == 120).await;
    dispatcher.shutdown(Duration::from_secs(5)).await;
    drop(dispatcher);
    let outbox = in_the_clear(&folder);
    let mut order: Vec<usize> = (0..120).collect();
    order.sort_by_key(|n| (n * 7_919) % 127);
    let mut left = order.clone();
    for part in order.chunks(17) {
        for n in part {
            let id = RequestId::parse(&run(*n)).unwrap();
            let one = DeliveryFilter::new().with_request_id(id);
            assert_eq!(outbox.cancel(one).await.unwrap(), 1);
            left.retain(|other| other != n);
        }
        until_in_file(|| numbers(&folder.bytes()).len() == left.len()).await;
    }
}
