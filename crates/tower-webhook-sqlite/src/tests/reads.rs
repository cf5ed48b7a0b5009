//! How many reads run at once, whoever asks.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use futures_util::{FutureExt, future::join_all};
use tokio::time::timeout;
use tower_webhook::{
    DeliveryId,
    outbox::{DeliveryFilter, Outbox, Page},
};

use super::{builder, folder, until};
use crate::read_permits::ReadKind;

/// Callers who poll the status of their calls cause reads, and each has a thread and a connection.
#[tokio::test]
async fn a_flood_of_reads_runs_a_few_at_once() {
    let folder = folder();
    let outbox = builder(&folder).open().unwrap();
    for kind in [ReadKind::Short, ReadKind::Long] {
        let running = Arc::new(AtomicUsize::new(0));
        let read = |_| {
            let running = Arc::clone(&running);
            outbox.read(kind, move |_| {
                let number = running.fetch_add(1, Ordering::SeqCst) + 1;
                std::thread::sleep(Duration::from_millis(2));
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(number)
            })
        };
        let numbers = join_all((0..100).map(read)).await;
        let most = numbers.into_iter().map(Result::unwrap).max().unwrap();
        assert!(most <= kind.most(), "{most} at once, {kind:?}");
    }
}

/// A thread goes on where its caller has left: what comes next waits for it. What is found by its id
/// waits for no list.
#[tokio::test]
async fn reads_by_id_do_not_wait_for_long_ones() {
    let folder = folder();
    let outbox = builder(&folder).open().unwrap();
    let running = Arc::new(AtomicUsize::new(0));
    let mut ends = Vec::new();
    for _ in 0..8 {
        let (end, ended) = mpsc::channel::<()>();
        ends.push(end);
        let running = Arc::clone(&running);
        let read = outbox.read(ReadKind::Long, move |_| {
            running.fetch_add(1, Ordering::SeqCst);
            let _ = ended.recv();
            Ok(())
        });
        assert!(read.now_or_never().is_none());
    }
    let most = ReadKind::Long.most();
    until(|| running.load(Ordering::SeqCst) == most).await;
    let id = DeliveryId::parse("019a0000-0000-7000-8000-000000000001").unwrap();
    assert!(outbox.get(id).await.unwrap().is_none());
    assert!(outbox.payload(id).await.unwrap().is_none());
    let of_request = DeliveryFilter::new().with_request_id(id.into());
    assert!(
        outbox
            .list(of_request, Page::first(9))
            .await
            .unwrap()
            .is_empty()
    );
    assert!(outbox.oldest_due().await.unwrap().is_none());
    let mut list = Box::pin(outbox.list(DeliveryFilter::new(), Page::first(9)));
    let waited = timeout(Duration::from_millis(50), &mut list).await;
    assert!(waited.is_err(), "the threads of those who left go on");
    assert_eq!(running.load(Ordering::SeqCst), most);
    drop(ends);
    assert!(list.await.unwrap().is_empty());
}
