//! The server is killed with SIGKILL while deliveries are taken, and started again on its store.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};
use tower_webhook::{
    DeliveryId,
    outbox::{NewDelivery, Outbox, Verdict},
};

use crate::{
    scene::{PATIENCE, fetch, ids, leases, settle, stored},
    support::{builder, fresh_name, server::Server},
};

/// A delayed one survives it, too, with its number.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_acknowledged_is_lost() {
    let Some(mut server) = Server::start() else {
        return;
    };
    // What a killed server leaves unanswered is waited for no longer than this.
    let outbox = builder(&server.address(), &fresh_name())
        .with_lease(Duration::from_secs(2))
        .with_timeout(Duration::from_secs(2))
        .connect();
    let outbox = Arc::new(outbox.await.unwrap());
    let delayed = crate::scene::put_leased(&outbox, "delayed.example").await;
    settle(
        &outbox,
        &[delayed],
        Verdict::AgainIn(Duration::from_secs(1)),
    )
    .await;
    let taken = Arc::new(Mutex::new(HashSet::<DeliveryId>::new()));
    let (moved, is_over) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let (outbox, taken) = (Arc::clone(&outbox), Arc::clone(&taken));
            let (moved, is_over) = (Arc::clone(&moved), Arc::clone(&is_over));
            tokio::spawn(async move {
                while !is_over.load(Ordering::SeqCst) {
                    let new = NewDelivery::new(
                        stored("a.example", vec![bytes::Bytes::from(vec![7; 1_024])]),
                        false,
                    );
                    let id = new.stored.id;
                    if outbox.insert(vec![new]).await.is_ok() {
                        taken.lock().unwrap().insert(id);
                        moved.notify_one();
                    }
                }
            })
        })
        .collect();
    let until = async |number: usize| {
        let enough = async {
            while taken.lock().unwrap().len() < number {
                moved.notified().await;
            }
        };
        timeout(PATIENCE, enough).await.expect("it takes nothing");
    };
    for kill in 1..=3 {
        until(kill * 200).await;
        server.kill();
        server.restart();
    }
    until(800).await;
    is_over.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
    let mut missing = taken.lock().unwrap().clone();
    missing.insert(delayed.delivery);
    // What nobody has heard of may be there, too, and what was fetched may come once more.
    while !missing.is_empty() {
        let found = fetch(&outbox, 1).await;
        if found[0].stored.id == delayed.delivery {
            assert_eq!(found[0].attempt, 2);
        }
        missing.retain(|id| !ids(&found).contains(id));
        settle(&outbox, &leases(&found), Verdict::Delivered).await;
    }
}
