use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tower_webhook::{
    EventKind, RetryPolicy,
    event::Counts,
    outbox::{DeliveryFilter, DeliveryState, Durability, Page},
};

use crate::scene::{Folder, Receiver, SILENT, call, dispatcher, moved, until, until_in_file};

#[tokio::test]
async fn a_delivery_goes_out_signed_and_leaves_nothing_behind() {
    let (folder, receiver) = (Folder::new(), Receiver::start(200).await);
    let dispatcher = folder.dispatcher();
    assert_eq!(call(&dispatcher, "run-1", &receiver.url()).await, 200);
    let posts = receiver.gets(1).await;
    assert_eq!((posts[0].id.as_str(), posts[0].attempt), ("run-1", 1));
    assert_eq!(posts[0].body, "the result of run-1");
    assert!(posts[0].signed);
    until(|| dispatcher.counts().delivered == 1).await;
    assert_eq!(folder.count("TRUE"), 0);
    assert_eq!(dispatcher.outstanding(), 0);
}

#[tokio::test]
async fn what_waits_is_delivered_by_the_next_run() {
    let (folder, receiver) = (Folder::new(), Receiver::start(500).await);
    let events = Arc::new(Mutex::new(Vec::new()));
    let first = {
        let events = Arc::clone(&events);
        dispatcher()
            .with_outbox(folder.outbox())
            .with_retry_policy(RetryPolicy::standard_webhooks())
            .on_event(move |event| {
                events.lock().unwrap().push(event.kind().clone());
                moved();
            })
            .build()
    };
    for n in 0..5 {
        call(&first, &format!("run-{n}"), &receiver.url()).await;
    }
    receiver.gets(5).await;
    let report = first.shutdown(Duration::from_secs(5)).await;
    assert!(report.abandoned.is_empty() && report.unfinished == 0);
    assert_eq!(first.counts().abandoned, 0);
    let queued = EventKind::Queued {
        durability: Durability::LocalDisk,
    };
    let queued = |kind: &&EventKind| **kind == queued;
    assert_eq!(events.lock().unwrap().iter().filter(queued).count(), 5);
    drop(first);

    receiver.answer(200);
    let second = folder.dispatcher();
    second.start();
    // The delay of 5 seconds began in the first run.
    let posts = receiver.gets(10).await;
    assert!(
        posts[5..]
            .iter()
            .all(|post| post.attempt == 2 && post.signed)
    );
    until(|| second.counts().delivered == 5).await;
    assert_eq!(folder.count("TRUE"), 0);
}

#[tokio::test]
async fn a_due_time_survives() {
    let (folder, receiver) = (Folder::new(), Receiver::start(SILENT).await);
    let closed = dispatcher().with_outbox(folder.outbox()).build();
    call(&closed, "later", &receiver.url()).await;
    receiver.gets(1).await;
    closed.shutdown(Duration::ZERO).await;
    drop(closed);
    assert_eq!(folder.count("state = 'waiting' AND attempt = 1"), 1);
    folder.sql("UPDATE delivery SET due_at = 1000 * unixepoch() + 3600000, delay = 3600000");

    receiver.answer(200);
    let dispatcher = folder.dispatcher();
    call(&dispatcher, "now", &receiver.url()).await;
    receiver.gets(2).await;
    until(|| dispatcher.counts().delivered == 1).await;
    assert_eq!(receiver.ids(), ["later", "now"]);
    let waiting = DeliveryFilter::new().with_state(DeliveryState::Waiting);
    let waiting = dispatcher.deliveries(&waiting, Page::first(9)).await;
    let waiting = waiting.unwrap();
    assert_eq!(waiting[0].request_id.as_str(), "later");
    assert_eq!(waiting[0].state, DeliveryState::Waiting);

    folder.sql("UPDATE delivery SET due_at = 0");
    receiver.gets(3).await;
}

#[tokio::test]
async fn both_of_two_with_the_same_request_id_are_kept_and_delivered() {
    let (folder, receiver) = (Folder::new(), Receiver::start(500).await);
    let dispatcher = folder.dispatcher();
    for _ in 0..2 {
        assert_eq!(call(&dispatcher, "twice", &receiver.url()).await, 200);
    }
    receiver.gets(2).await;
    assert_eq!(receiver.ids(), ["twice", "twice"]);
}

#[test]
fn a_runtime_that_ends_loses_nothing() {
    let folder = Folder::new();
    let dispatcher = folder.dispatcher();
    let runtime = || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap()
    };
    // Open beyond the end of the runtime: the attempt is cut off, it does not fail.
    let (address, silent) = runtime().block_on(async {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap();
        call(&dispatcher, "stalled", &format!("http://{address}/")).await;
        let (connection, _) = silent.accept().await.unwrap();
        (address, (silent, connection))
    });
    assert_eq!(dispatcher.counts(), {
        let mut counts = Counts::default();
        counts.accepted = 1;
        counts
    });
    drop(silent);
    runtime().block_on(async {
        let receiver = Receiver::start_at(200, address).await;
        dispatcher.start();
        assert_eq!(receiver.gets(1).await[0].attempt, 1);
        until(|| dispatcher.counts().delivered == 1).await;
        until_in_file(|| folder.count("TRUE") == 0).await;
    });
}
