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

#[allow(dead_code)]
#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    convert::Infallible,
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
use http::{Request, Response};
use http_body_util::Empty;
use tokio::task::JoinSet;
use tower::service_fn;
use tower_webhook::{
    DeliveryId, Dispatcher, EndpointPolicy, Payload, RequestId,
    delivery::DeliveryParts,
    dispatch::DispatcherBuilder,
    endpoint::Host,
    outbox::{Envelope, NewDelivery, Outbox, Settlement, StoredDelivery, Verdict, Want},
};
use tower_webhook_nats::JetStreamOutbox;

use support::{fresh_name, open, server::Server};

const CALLERS: usize = 64;
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
        figures[3].push(alone.accepted);
        figures[4].push(alone.delivered);
        figures[5].push(beside.first.as_secs_f64());
        figures[6].push(beside.delivered / alone.delivered);
    }
    let [published, taken, delivered, accepted, made, first, beside] =
        figures.map(|mut figures| {
            figures.sort_by(f64::total_cmp);
            figures[figures.len() / 2]
        });
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

fn setting(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |number| number.parse().expect("a number"))
}

/// What a dispatcher does with it.
struct Whole {
    accepted: f64,
    delivered: f64,
    /// From the start to the first delivery.
    first: Duration,
}

async fn whole(server: &Server, time: Duration, waiting: u64) -> Whole {
    let name = fresh_name();
    let number = Arc::new(AtomicU64::new(0));
    if waiting > 0 {
        leave(server, &name, waiting).await;
    }
    let dispatcher = dispatcher(server, &name, &number).await.build();
    deliver(&dispatcher, "https://a.example/").await;
    dispatcher.start();
    let began = Instant::now();
    while number.load(Ordering::Relaxed) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let first = began.elapsed();
    let call = {
        let dispatcher = dispatcher.clone();
        move || {
            let dispatcher = dispatcher.clone();
            async move { deliver(&dispatcher, "https://a.example/").await }
        }
    };
    load(time / 4, call.clone()).await;
    let (before, began) = (number.load(Ordering::Relaxed), Instant::now());
    let accepted = load(time, call).await;
    let delivered = number.load(Ordering::Relaxed) - before;
    let delivered = delivered as f64 / began.elapsed().as_secs_f64();
    dispatcher.shutdown(Duration::from_millis(100)).await;
    Whole {
        accepted,
        delivered,
        first,
    }
}

/// Its client counts and responds immediately, except for the dead host.
async fn dispatcher(server: &Server, name: &str, number: &Arc<AtomicU64>) -> DispatcherBuilder {
    let number = Arc::clone(number);
    let client = service_fn(move |request: Request<Payload>| {
        let is_dead = request.uri().host() == Some("dead.example");
        number.fetch_add(u64::from(!is_dead), Ordering::Relaxed);
        async move {
            if is_dead {
                std::future::pending::<()>().await;
            }
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let outbox = open(&server.address(), name, LEASE).await;
    Dispatcher::builder_with_client(client)
        .with_max_outstanding(8_192)
        .with_max_outstanding_per_host(8_192)
        .with_outbox(outbox)
}

async fn deliver(dispatcher: &Dispatcher, endpoint: &str) {
    let endpoint = EndpointPolicy::public().check(endpoint);
    let payload = Payload::from(Bytes::from_static(&[b'x'; 1_024]));
    let parts = DeliveryParts::new(endpoint.expect("it is an endpoint"), payload);
    dispatcher.deliver(parts).await.expect("it is accepted");
}

/// Leaves so many for the dead host.
async fn leave(server: &Server, name: &str, waiting: u64) {
    let builder = dispatcher(server, name, &Arc::default()).await;
    let dispatcher = builder.without_attempts().build();
    let mut callers = JoinSet::new();
    for caller in 0..1_024 {
        let dispatcher = dispatcher.clone();
        let number = waiting / 1_024 + u64::from(caller < waiting % 1_024);
        callers.spawn(async move {
            for _ in 0..number {
                deliver(&dispatcher, "https://dead.example/").await;
            }
        });
    }
    callers.join_all().await;
    dispatcher.shutdown(Duration::from_secs(5)).await;
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
