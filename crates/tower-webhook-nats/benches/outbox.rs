//! Deliveries taken and delivered a second: 64 callers, payloads of 1 KiB, three servers that sync each message
//! and keep it three times, all on one machine. Beside it, in turn within one run, the same callers publish to a
//! stream like the outbox's and wait for each acknowledgement, what the servers give to anybody: the payload
//! alone, and with headers as the outbox has them.
//!
//! ```sh
//! TOWER_WEBHOOK_NATS_SERVER=$(.ci/nats-server) cargo bench -p tower-webhook-nats --bench outbox
//! ```
//!
//! Then a dispatcher accepts and leaves the attempts to others, and one accepts and delivers at the same time.
//! Its client responds immediately, so HTTP is not measured. The last figures are those of a healthy host while
//! `TOWER_WEBHOOK_BENCH_WAITING` deliveries wait for a dead one: how long the first takes that comes after all
//! of these, and the rate beside the one without. Last, `TOWER_WEBHOOK_BENCH_BACKLOG` deliveries wait for one
//! host that answers: how fast they come, alone and behind 20 for a dead host.
//!
//! `TOWER_WEBHOOK_BENCH_MS` is the time of one round, and `TOWER_WEBHOOK_BENCH_ROUNDS` their number. With
//! `TOWER_WEBHOOK_BENCH_SERVERS=1` there is one server, which keeps each message once. It syncs the removal of each
//! message as well, one after the other with the new ones: accepting and delivering share what it can sync.

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

use async_nats::{
    HeaderMap,
    jetstream::{
        self,
        stream::{Config, RetentionPolicy},
    },
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

use callers::{ALIVE, DEAD, Rates, deliver, leave, load, median, setting};
use support::{builder, cluster::Cluster, fresh_name, server::Server};

const LEASE: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(20);
/// Fewer than are attempted at once in all.
const FEW: u64 = 20;

/// One server, or three that keep everything three times.
enum Servers {
    One(Server),
    Three(Cluster),
}

impl Servers {
    fn start() -> Option<Self> {
        match setting("TOWER_WEBHOOK_BENCH_SERVERS", 3) {
            1 => Server::start().map(Self::One),
            3 => Cluster::start().map(Self::Three),
            number => panic!("1 or 3 servers, not {number}"),
        }
    }

    fn address(&self) -> String {
        match self {
            Self::One(server) => server.address(),
            Self::Three(cluster) => cluster.address(),
        }
    }

    fn replicas(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Three(_) => 3,
        }
    }

    /// Servers that have just started have to find each other.
    async fn open(&self, name: &str) -> JetStreamOutbox {
        for _ in 0..100 {
            let outbox = builder(&self.address(), name)
                .with_replicas(self.replicas())
                .with_lease(LEASE)
                .with_timeout(TIMEOUT)
                .connect();
            match outbox.await {
                Ok(outbox) => return outbox,
                Err(error) => eprintln!("{error}: once more"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the servers are not there");
    }
}

#[tokio::main]
async fn main() {
    let Some(server) = Servers::start() else {
        return;
    };
    drop(server.open(&fresh_name()).await);
    let time = Duration::from_millis(setting("TOWER_WEBHOOK_BENCH_MS", 2_000));
    let waiting = setting("TOWER_WEBHOOK_BENCH_WAITING", 10_000);
    let backlog = setting("TOWER_WEBHOOK_BENCH_BACKLOG", 20_000);
    let mut figures: [Vec<f64>; 11] = Default::default();
    for _ in 0..setting("TOWER_WEBHOOK_BENCH_ROUNDS", 5) {
        figures[0].push(published(&server, HeaderMap::new(), time).await);
        figures[9].push(published(&server, headers(), time).await);
        let outbox = Arc::new(server.open(&fresh_name()).await);
        figures[1].push(taken(&outbox, time).await);
        figures[2].push(delivered(&outbox, time).await);
        let builder = dispatcher(&server, &fresh_name(), &Arc::default()).await;
        figures[8].push(callers::accepting_alone(builder, time).await);
        let alone = whole(&server, time, 0).await;
        let beside = whole(&server, time, waiting).await;
        figures[3].push(alone.rates.accepted);
        figures[4].push(alone.rates.delivered);
        figures[5].push(beside.first.as_secs_f64());
        figures[6].push(beside.rates.delivered / alone.rates.delivered);
        figures[7].push(drained(&server, backlog, 0).await);
        figures[10].push(drained(&server, backlog, FEW).await);
    }
    let [
        published,
        taken,
        delivered,
        accepted,
        made,
        first,
        beside,
        drained,
        accepted_alone,
        same,
        drained_behind,
    ] = figures.map(median);
    println!("figure bare_published_per_s {published:.0}");
    println!("figure bare_published_with_headers_per_s {same:.0}");
    println!("figure nats_accepted_per_s {taken:.0}");
    println!("figure nats_delivered_per_s {delivered:.0}");
    println!("figure nats_accepted_of_bare {:.2}", taken / published);
    println!(
        "figure nats_accepted_of_bare_with_headers {:.2}",
        taken / same
    );
    println!("figure dispatcher_accepted_alone_per_s {accepted_alone:.0}");
    println!(
        "figure dispatcher_accepted_alone_of_bare {:.2}",
        accepted_alone / published
    );
    println!(
        "figure dispatcher_accepted_alone_of_bare_with_headers {:.2}",
        accepted_alone / same
    );
    println!("figure dispatcher_accepted_per_s {accepted:.0}");
    println!(
        "figure dispatcher_delivered_of_accepted {:.2}",
        made / accepted
    );
    println!("figure waiting_for_a_dead_host {waiting}");
    println!("figure first_behind_those_s {first:.1}");
    println!("figure delivered_beside_those_ratio {beside:.2}");
    println!("figure backlog_of_one_host {backlog}");
    println!("figure backlog_of_one_host_drained_per_s {drained:.0}");
    println!("figure backlog_behind_a_few_dead_drained_per_s {drained_behind:.0}");
}

/// Almost all that waits is for one host, which answers: what it gets in a second until nothing is left.
async fn drained(server: &Servers, backlog: u64, dead: u64) -> f64 {
    let name = fresh_name();
    let number = Arc::new(AtomicU64::new(0));
    if dead > 0 {
        leave(dispatcher(server, &name, &number).await, dead, DEAD).await;
    }
    leave(dispatcher(server, &name, &number).await, backlog, ALIVE).await;
    let dispatcher = dispatcher(server, &name, &number).await.build();
    let began = Instant::now();
    dispatcher.start();
    while number.load(Ordering::Relaxed) < backlog {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let rate = backlog as f64 / began.elapsed().as_secs_f64();
    dispatcher.shutdown(Duration::from_millis(100)).await;
    rate
}

/// What a dispatcher does with it.
struct Whole {
    rates: Rates,
    /// From the start to the first delivery.
    first: Duration,
}

async fn whole(server: &Servers, time: Duration, waiting: u64) -> Whole {
    let name = fresh_name();
    let number = Arc::new(AtomicU64::new(0));
    if waiting > 0 {
        leave(dispatcher(server, &name, &number).await, waiting, DEAD).await;
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

async fn dispatcher(server: &Servers, name: &str, number: &Arc<AtomicU64>) -> DispatcherBuilder {
    let outbox = server.open(name).await;
    callers::builder(number).with_outbox(outbox)
}

/// As long as those of a delivery, less the message's id.
fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("Webhook-Delivery-Id", DeliveryId::fresh().to_string());
    headers.insert("Webhook-Request-Id", DeliveryId::fresh().to_string());
    headers.insert("Webhook-Host", "a.example");
    headers.insert("Webhook-Status", "200");
    headers.insert("Webhook-Accepted-At", "1700000000000");
    headers.insert("Webhook-Envelope", "x".repeat(340));
    headers
}

/// Each caller publishes, waits, and publishes again.
async fn published(server: &Servers, headers: HeaderMap, time: Duration) -> f64 {
    let addresses = server.address();
    let addresses: Vec<_> = addresses.split(',').collect();
    let client = async_nats::connect(&addresses).await;
    let context = jetstream::new(client.expect("it connects"));
    let name = fresh_name();
    let config = Config {
        name: name.clone(),
        retention: RetentionPolicy::WorkQueue,
        num_replicas: server.replicas(),
        ..Config::default()
    };
    context.create_stream(config).await.expect("it is created");
    load(time, move || {
        let (context, name, mut headers) = (context.clone(), name.clone(), headers.clone());
        async move {
            let payload = Bytes::from(vec![b'x'; 1_024]);
            if !headers.is_empty() {
                headers.insert("Nats-Msg-Id", DeliveryId::fresh().to_string());
            }
            let published = context.publish_with_headers(name, headers, payload).await;
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
