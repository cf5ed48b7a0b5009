//! `kill -9` of the database server under load: no acknowledged delivery is lost.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use tokio::time::timeout;
use tower_webhook::{DeliveryId, outbox::Outbox};

use crate::{
    deliveries::new,
    support::{
        scene::{PATIENCE, Receiver, call, dispatcher, until},
        server::Server,
    },
};

/// Three by default; more take minutes.
fn kills() -> usize {
    let number = std::env::var("TOWER_WEBHOOK_KILLS");
    number.map_or(3, |number| number.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_acknowledged_is_lost() {
    const CALLERS: usize = 16;
    const BETWEEN: usize = 500;
    let Some(mut server) = Server::start(&[]) else {
        return;
    };
    let place = server.place();
    let outbox = Arc::new(place.outbox().await);
    let acknowledged = Arc::new(Mutex::new(Vec::<DeliveryId>::new()));
    let is_over = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (outbox, is_over) = (Arc::clone(&outbox), Arc::clone(&is_over));
            let acknowledged = Arc::clone(&acknowledged);
            tokio::spawn(async move {
                while !is_over.load(Ordering::SeqCst) {
                    let one = new("a.example", &"x".repeat(1_024), false);
                    let id = one.stored.id;
                    if outbox.insert(vec![one]).await.is_ok() {
                        acknowledged.lock().unwrap().push(id);
                    }
                }
            })
        })
        .collect();
    let number = || acknowledged.lock().unwrap().len();
    for _ in 0..kills() {
        let so_many = number() + BETWEEN;
        until(async || number() >= so_many).await;
        server.kill();
        server.run();
    }
    let so_many = number() + BETWEEN;
    until(async || number() >= so_many).await;
    is_over.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
    let sql = place.sql().await;
    let query = "SELECT id::text FROM delivery JOIN payload USING (id)";
    let rows = sql.query(query, &[]).await.unwrap();
    let kept: HashSet<_> = rows
        .iter()
        .map(|row| DeliveryId::parse(row.get(0)).unwrap())
        .collect();
    let acknowledged = acknowledged.lock().unwrap();
    let lost = acknowledged.iter().filter(|id| !kept.contains(id)).count();
    println!(
        "{} kills, {} acknowledged, {lost} lost",
        kills(),
        acknowledged.len()
    );
    assert_eq!(lost, 0);
}

/// With a server default of `synchronous_commit = off`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_default_that_does_not_wait_for_the_disk_is_not_followed() {
    let settings = ["synchronous_commit=off", "wal_writer_delay=10s"];
    let Some(mut server) = Server::start(&settings) else {
        return;
    };
    let place = server.place();
    let outbox = place.outbox().await;
    outbox
        .insert(vec![new("a.example", "done", false)])
        .await
        .unwrap();
    server.kill();
    server.run();
    assert_eq!(place.count("delivery", "TRUE").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn responses_complete_while_the_server_is_away_and_it_is_used_again_afterwards() {
    let Some(mut server) = Server::start(&[]) else {
        return;
    };
    let place = server.place();
    let receiver = Receiver::start(200).await;
    let dispatcher = dispatcher()
        .with_outbox(place.outbox().await)
        .with_accept_timeout(Duration::from_millis(500))
        .build();
    call(&dispatcher, "before", &receiver.url()).await;
    receiver.gets(1).await;
    server.stop();
    for id in ["away-1", "away-2"] {
        let answered = timeout(PATIENCE, call(&dispatcher, id, &receiver.url())).await;
        assert_eq!(answered.expect("it completes"), StatusCode::OK);
    }
    receiver.gets(3).await;
    server.run();
    until(async || {
        let before = place.count("history", "TRUE").await;
        call(&dispatcher, "after", &receiver.url()).await;
        let began = tokio::time::Instant::now();
        loop {
            if place.count("history", "TRUE").await > before {
                return true;
            }
            if began.elapsed() > Duration::from_secs(3) {
                return false;
            }
        }
    })
    .await;
    dispatcher.shutdown(Duration::from_secs(10)).await;
}
