//! What looking costs: how long a page of the list takes beside very many deliveries, and how much slower
//! deliveries are while people look. The outbox is a SQLite file, and sockets are as `axum::serve` makes them.
//!
//! ```sh
//! TOWER_WEBHOOK_BENCH_WAITING=1000000 cargo bench -p tower-webhook-console --bench looking
//! ```
//!
//! `TOWER_WEBHOOK_BENCH_MS` is the time of one round, `TOWER_WEBHOOK_BENCH_ROUNDS` the number of rounds. Rates are
//! measured in turn: without a console, with one at which nobody looks, and with twenty people who do. The
//! dispatcher's client responds immediately: HTTP to receivers is not measured.

use std::{
    convert::Infallible,
    env,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::Router;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use reqwest::Client;
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinSet, time::sleep};
use tower::service_fn;
use tower_webhook::{
    Dispatcher, EndpointPolicy, Payload, delivery::DeliveryParts, dispatch::DispatcherBuilder,
    outbox::SealingKey,
};
use tower_webhook_console::{Access, ConsoleEvents, console};
use tower_webhook_sqlite::SqliteOutbox;

const CALLERS: usize = 64;
const PEOPLE: usize = 20;

/// What is measured.
#[derive(Clone, Copy)]
enum Console {
    None,
    Unseen,
    Seen,
}

#[tokio::main]
async fn main() {
    let waiting = setting("TOWER_WEBHOOK_BENCH_WAITING", 10_000);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("webhooks.db");
    leave(&file, waiting).await;
    println!("figure waiting {waiting}");
    pages(&file).await;

    let time = Duration::from_millis(setting("TOWER_WEBHOOK_BENCH_MS", 2_000));
    let mut rates: [Vec<f64>; 3] = Default::default();
    for _ in 0..setting("TOWER_WEBHOOK_BENCH_ROUNDS", 5) {
        for (rates, console) in
            rates
                .iter_mut()
                .zip([Console::None, Console::Unseen, Console::Seen])
        {
            rates.push(rate(&file, console, time).await);
        }
    }
    let [none, unseen, seen] = &rates;
    println!("figure delivered_per_s {:.0}", median(none.clone()));
    for (name, rates) in [("nobody_looks", unseen), ("twenty_look", seen)] {
        let ratios = rates.iter().zip(none).map(|(rate, of)| rate / of);
        println!("figure {name}_ratio {:.3}", median(ratios.collect()));
    }
}

fn setting(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |number| number.parse().expect("a number"))
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Over this file. What waits for the dead host is attempted for ever.
fn dispatcher(file: &Path, delivered: &Arc<AtomicU64>) -> DispatcherBuilder {
    let key = SealingKey::from_bytes([7; 32]);
    let outbox = SqliteOutbox::builder(file).with_key(key).open();
    let delivered = Arc::clone(delivered);
    let client = service_fn(move |request: Request<Payload>| {
        let is_dead = request.uri().host() == Some("dead.example");
        delivered.fetch_add(u64::from(!is_dead), Ordering::Relaxed);
        async move {
            if is_dead {
                std::future::pending::<()>().await;
            }
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    Dispatcher::builder_with_client(client)
        .with_max_outstanding(8_192)
        .with_max_outstanding_per_host(8_192)
        .with_outbox(outbox.expect("it opens"))
}

async fn deliver(dispatcher: &Dispatcher, endpoint: &str) {
    let endpoint = EndpointPolicy::public().check(endpoint);
    let payload = Payload::from(Bytes::from_static(&[b'x'; 1_024]));
    let parts = DeliveryParts::new(endpoint.expect("it is an endpoint"), payload);
    dispatcher.deliver(parts).await.expect("it is accepted");
}

/// Leaves so many in the file.
async fn leave(file: &Path, number: u64) {
    let builder = dispatcher(file, &Arc::default()).without_attempts();
    let dispatcher = builder.build();
    let mut callers = JoinSet::new();
    for caller in 0..1_024 {
        let dispatcher = dispatcher.clone();
        let number = number / 1_024 + u64::from(caller < number % 1_024);
        callers.spawn(async move {
            for _ in 0..number {
                deliver(&dispatcher, "https://dead.example/hook").await;
            }
        });
    }
    callers.join_all().await;
    dispatcher.shutdown(Duration::from_secs(5)).await;
}

async fn serve(dispatcher: &Dispatcher, events: &ConsoleEvents) -> String {
    let console = console(dispatcher, Access::left_to_others()).with_events(events);
    let app = Router::new().nest_service("/webhooks", console);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it has one");
    tokio::spawn(async { axum::serve(listener, app).await });
    format!("http://{address}/webhooks")
}

async fn get(client: &Client, url: &str) -> String {
    let answer = client.get(url).send().await.expect("it answers");
    assert!(answer.status().is_success(), "{url}: {}", answer.status());
    answer.text().await.expect("all of it")
}

/// What a page asks for when it is opened, and when it is turned.
async fn pages(file: &Path) {
    let events = ConsoleEvents::new();
    let builder = dispatcher(file, &Arc::default()).without_attempts();
    let dispatcher = builder.on_event(events.subscriber()).build();
    let page = serve(&dispatcher, &events).await;
    let client = Client::builder().no_proxy().build().expect("a client");
    let timed = async |url: &str| {
        let began = Instant::now();
        let text = get(&client, url).await;
        (began.elapsed().as_secs_f64() * 1_000.0, text)
    };
    let (document, _) = timed(&page).await;
    let (mut turns, mut list) = (Vec::new(), format!("{page}/api/deliveries"));
    for _ in 0..20 {
        let (took, text) = timed(&list).await;
        turns.push(took);
        let read: Value = serde_json::from_str(&text).expect("JSON");
        let Some(next) = read["next"].as_str() else {
            break;
        };
        list = format!("{page}/api/deliveries?before={next}");
    }
    let (summary, _) = timed(&format!("{page}/api/summary")).await;
    println!("figure document_ms {document:.1}");
    println!("figure first_list_ms {:.1}", turns[0]);
    println!("figure summary_ms {summary:.1}");
    println!(
        "figure page_turn_ms {:.1}, at most {:.1}",
        median(turns.clone()),
        turns.iter().copied().fold(0.0, f64::max)
    );
    for filter in [
        "state=waiting",
        "state=dead",
        "host=dead.example",
        "host=a.example",
        "last=1h",
    ] {
        let (took, _) = timed(&format!("{page}/api/deliveries?{filter}")).await;
        println!("figure filter_{filter}_ms {took:.1}");
    }
    dispatcher.shutdown(Duration::from_millis(100)).await;
}

/// Deliveries a second.
async fn rate(file: &Path, console: Console, time: Duration) -> f64 {
    let delivered = Arc::new(AtomicU64::new(0));
    let events = ConsoleEvents::new();
    let mut builder = dispatcher(file, &delivered);
    if !matches!(console, Console::None) {
        builder = builder.on_event(events.subscriber());
    }
    let dispatcher = builder.build();
    dispatcher.start();
    let mut people = JoinSet::new();
    if !matches!(console, Console::None) {
        let page = serve(&dispatcher, &events).await;
        if matches!(console, Console::Seen) {
            (0..PEOPLE).for_each(|_| drop(people.spawn(look(page.clone()))));
        }
    }
    load(&dispatcher, time / 4).await;
    let (before, began) = (delivered.load(Ordering::Relaxed), Instant::now());
    load(&dispatcher, time).await;
    let number = delivered.load(Ordering::Relaxed) - before;
    let rate = number as f64 / began.elapsed().as_secs_f64();
    people.abort_all();
    dispatcher.shutdown(Duration::from_millis(100)).await;
    rate
}

/// As the page does while something happens: the event stream, and every two seconds the list and the summary.
async fn look(page: String) {
    let client = Client::builder().no_proxy().build().expect("a client");
    let stream = client.get(format!("{page}/api/events")).send();
    let mut stream = stream.await.expect("it answers");
    loop {
        let looked = Instant::now();
        get(&client, &format!("{page}/api/deliveries")).await;
        get(&client, &format!("{page}/api/summary")).await;
        while looked.elapsed() < Duration::from_secs(2) {
            tokio::select! {
                chunk = stream.chunk() => drop(chunk.expect("it goes on")),
                () = sleep(Duration::from_secs(2)) => {}
            }
        }
    }
}

async fn load(dispatcher: &Dispatcher, time: Duration) {
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let dispatcher = dispatcher.clone();
        callers.spawn(async move {
            while began.elapsed() < time {
                deliver(&dispatcher, "https://a.example/hook").await;
            }
        });
    }
    callers.join_all().await;
}
