//! Deliveries taken and delivered a second: 64 callers, payloads of 1 KiB, one server with one replica that
//! syncs each message. Beside it, in turn within one run, the same callers publish to a stream like the
//! outbox's and wait for each acknowledgement: what the server gives to anybody.
//!
//! ```sh
//! TOWER_WEBHOOK_NATS_SERVER=$(.ci/nats-server) cargo bench -p tower-webhook-nats --bench outbox
//! ```
//!
//! `TOWER_WEBHOOK_BENCH_MS` is the time of one round.

#[allow(dead_code)]
#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    env,
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
    endpoint::Host,
    outbox::{Envelope, NewDelivery, Outbox, Settlement, StoredDelivery, Verdict, Want},
};
use tower_webhook_nats::JetStreamOutbox;

use support::{fresh_name, open, server::Server};

const CALLERS: usize = 64;
const ROUNDS: usize = 5;
const LEASE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() {
    let Some(server) = Server::start() else {
        return;
    };
    let ms = env::var("TOWER_WEBHOOK_BENCH_MS").map_or(2_000, |ms| ms.parse().expect("a number"));
    let time = Duration::from_millis(ms);
    let mut figures: [Vec<f64>; 3] = Default::default();
    for _ in 0..ROUNDS {
        figures[0].push(published(&server, time).await);
        let outbox = Arc::new(open(&server.address(), &fresh_name(), LEASE).await);
        figures[1].push(taken(&outbox, time).await);
        figures[2].push(delivered(&outbox, time).await);
    }
    let [published, taken, delivered] = figures.map(|mut figures| {
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    });
    println!("figure bare_published_per_s {published:.0}");
    println!("figure nats_accepted_per_s {taken:.0}");
    println!("figure nats_delivered_per_s {delivered:.0}");
    println!("figure nats_accepted_of_bare {:.2}", taken / published);
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

/// What so many callers do a second.
async fn load<F, C>(time: Duration, call: F) -> f64
where
    F: Fn() -> C + Clone + Send + 'static,
    C: Future<Output = ()> + Send,
{
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let call = call.clone();
        callers.spawn(async move {
            let mut number: u64 = 0;
            while began.elapsed() < time {
                call().await;
                number += 1;
            }
            number
        });
    }
    let number: u64 = callers.join_all().await.into_iter().sum();
    number as f64 / began.elapsed().as_secs_f64()
}
