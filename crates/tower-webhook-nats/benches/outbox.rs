//! Deliveries taken and delivered a second: 64 callers, payloads of 1 KiB, one server with one replica that
//! syncs each message. Beside it, in turn within one run, the same callers publish to a stream like the
//! outbox's and wait for each acknowledgement: what the server gives to anybody.
//!
//! ```sh
//! TOWER_WEBHOOK_NATS_SERVER=$(.ci/nats-server) cargo bench -p tower-webhook-nats --bench outbox
//! ```
//!
//! Then a dispatcher accepts and delivers at the same time; its client responds immediately, so HTTP is not
//! measured. The last figures are those of a healthy host while `TOWER_WEBHOOK_BENCH_WAITING` deliveries wait for
//! a dead one: how long the first takes that comes after all of these, and the rate beside the one without.
//!
//! `TOWER_WEBHOOK_BENCH_MS` is the time of one round, and `TOWER_WEBHOOK_BENCH_ROUNDS` their number.

#[path = "../../../benches/support/callers.rs"]
mod callers;
#[allow(dead_code)]
#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use async_nats::jetstream::{
    self,
    stream::{Config, RetentionPolicy},
};
use bytes::Bytes;
use tokio::task::JoinSet;
use tower_webhook::{
    DeliveryId, RequestId,
    dispatch::DispatcherBuilder,
    endpoint::Host,
    outbox::{Envelope, NewDelivery, Outbox, Settlement, StoredDelivery, Verdict, Want},
};
use tower_webhook_nats::JetStreamOutbox;

use callers::{ALIVE, Rates, deliver, leave, load, median, setting};
use support::{fresh_name, open, server::Server};

const LEASE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() {
    let Some(server) = Server::start() else {
        return;
    };
    let time = Duration::from_millis(setting("TOWER_WEBHOOK_BENCH_MS", 2_000));
    let waiting = setting("TOWER_WEBHOOK_BENCH_WAITING", 10_000);
    let mut figures: [Vec<f64>; 7] = Default::default();
    for _ in 0..setting("TOWER_WEBHOOK_BENCH_ROUNDS", 5) {
        figures[0].push(published(&server, time).await);
        let outbox = Arc::new(open(&server.address(), &fresh_name(), LEASE).await);
        figures[1].push(taken(&outbox, time).await);
        figures[2].push(delivered(&outbox, time).await);
        let alone = whole(&server, time, 0).await;
        let beside = whole(&server, time, waiting).await;
        figures[3].push(alone.rates.accepted);
        figures[4].push(alone.rates.delivered);
        figures[5].push(beside.first.as_secs_f64());
        figures[6].push(beside.rates.delivered / alone.rates.delivered);
    }
    let [published, taken, delivered, accepted, made, first, beside] = figures.map(median);
    println!("figure bare_published_per_s {published:.0}");
    println!("figure nats_accepted_per_s {taken:.0}");
    println!("figure nats_delivered_per_s {delivered:.0}");
    println!("figure nats_accepted_of_bare {:.2}", taken / published);
    println!("figure dispatcher_accepted_per_s {accepted:.0}");
    println!(
        "figure dispatcher_delivered_of_accepted {:.2}",
        made / accepted
    );
    println!("figure waiting_for_a_dead_host {waiting}");
    println!("figure first_behind_those_s {first:.1}");
    println!("figure delivered_beside_those_ratio {beside:.2}");
}

/// What a dispatcher does with it.
struct Whole {
    rates: Rates,
    /// From the start to the first delivery.
    first: Duration,
}

async fn whole(server: &Server, time: Duration, waiting: u64) -> Whole {
    let name = fresh_name();
    let number = Arc::new(AtomicU64::new(0));
    if waiting > 0 {
        leave(dispatcher(server, &name, &number).await, waiting).await;
    }
    let dispatcher = dispatcher(server, &name, &number).await.build();
    assert!(deliver(dispatcher.clone(), ALIVE).await, "there is room");
    dispatcher.start();
    let began = Instant::now();
    while number.load(Ordering::Relaxed) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let first = began.elapsed();
    let rates = callers::rates(&dispatcher, &number, time).await;
    dispatcher.shutdown(Duration::from_millis(100)).await;
    Whole { rates, first }
}

async fn dispatcher(server: &Server, name: &str, number: &Arc<AtomicU64>) -> DispatcherBuilder {
    let outbox = open(&server.address(), name, LEASE).await;
    callers::builder(number).with_outbox(outbox)
}

/// Each caller publishes, waits, and publishes again.
async fn published(server: &Server, time: Duration) -> f64 {
    let client = async_nats::connect(server.address()).await;
    let context = jetstream::new(client.expect("it connects"));
    let name = fresh_name();
    let config = Config {
        name: name.clone(),
        retention: RetentionPolicy::WorkQueue,
        ..Config::default()
    };
    context.create_stream(config).await.expect("it is created");
    load(time, move || {
        let (context, name) = (context.clone(), name.clone());
        async move {
            let payload = Bytes::from(vec![b'x'; 1_024]);
            let published = context.publish(name, payload).await;
            let published = published.expect("it is published").await;
            published.expect("it is acknowledged");
            true
        }
    })
    .await
}

async fn taken(outbox: &Arc<JetStreamOutbox>, time: Duration) -> f64 {
    let outbox = Arc::clone(outbox);
    load(time, move || {
        let outbox = Arc::clone(&outbox);
        async move {
            let taken = outbox.insert(vec![NewDelivery::new(stored(), false)]).await;
            taken.expect("it is taken");
            true
        }
    })
    .await
}

fn stored() -> StoredDelivery {
    StoredDelivery::new(
        DeliveryId::fresh(),
        RequestId::parse("run_1").expect("it is an id"),
        Host::from("a.example"),
        None,
        SystemTime::now(),
        Envelope::from_bytes(vec![7; 256]),
        Bytes::from(vec![b'x'; 1_024]).into(),
    )
}

/// What was taken is fetched and settled, by four at once, until nothing is left or the time is over.
async fn delivered(outbox: &Arc<JetStreamOutbox>, time: Duration) -> f64 {
    let (began, mut workers, number) = (Instant::now(), JoinSet::new(), AtomicU64::new(0));
    let number = Arc::new(number);
    for _ in 0..4 {
        let (outbox, number) = (Arc::clone(outbox), Arc::clone(&number));
        workers.spawn(async move {
            while began.elapsed() < time {
                let due = outbox.fetch(Want::up_to(64)).await.expect("it is read");
                if due.deliveries.is_empty() {
                    return;
                }
                let settlements = due
                    .deliveries
                    .iter()
                    .map(|one| Settlement::new(one.lease, Verdict::Delivered, None));
                let settlements: Vec<_> = settlements.collect();
                number.fetch_add(settlements.len() as u64, Ordering::Relaxed);
                outbox.settle(settlements).await.expect("it is settled");
            }
        });
    }
    while workers.join_next().await.is_some() {}
    number.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}
