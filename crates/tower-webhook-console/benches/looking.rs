//! What looking costs: how long a page of the list takes beside very many deliveries, and how much slower
//! deliveries are while people look. The outbox is a SQLite file, and sockets are as `axum::serve` makes them.
//!
//! ```sh
//! TOWER_WEBHOOK_BENCH_WAITING=1000000 cargo bench -p tower-webhook-console --bench looking
//! ```
//!
//! `TOWER_WEBHOOK_BENCH_MS` is the time of one round, `TOWER_WEBHOOK_BENCH_ROUNDS` the number of rounds. Rates are
//! measured in turn: without a console, with one at which nobody looks, and with twenty people who do. The
//! dispatcher's client responds immediately: HTTP to receivers is not measured. Where Chromium and chromedriver are
//! installed, it is timed as well how long a browser takes to paint the page first, and to have the list on it.

#[cfg(unix)]
#[path = "../../../tests/support/browser.rs"]
mod browser;
#[path = "../../../benches/support/callers.rs"]
mod callers;

use std::{
    path::Path,
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

use axum::Router;
use callers::{DEAD, leave, median, setting};
use reqwest::Client;
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinSet, time::sleep};
use tower_webhook::{Dispatcher, dispatch::DispatcherBuilder, outbox::SealingKey};
use tower_webhook_console::{Access, ConsoleEvents, console};
use tower_webhook_sqlite::SqliteOutbox;

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
    leave(dispatcher(&file, &Arc::default()), waiting, DEAD).await;
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

/// Over this file. What waits for the dead host is attempted for ever.
fn dispatcher(file: &Path, delivered: &Arc<AtomicU64>) -> DispatcherBuilder {
    let key = SealingKey::from_bytes([7; 32]);
    let outbox = SqliteOutbox::builder(file).with_key(key).open();
    callers::builder(delivered).with_outbox(outbox.expect("it opens"))
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
    #[cfg(unix)]
    in_a_browser(&page).await;
    dispatcher.shutdown(Duration::from_millis(100)).await;
}

/// From the click on a link to the first paint, and to the list.
#[cfg(unix)]
async fn in_a_browser(page: &str) {
    let Some(browser) = browser::Browser::open().await else {
        return;
    };
    let (mut painted, mut listed) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        browser.go("about:blank").await;
        browser.go(page).await;
        browser
            .wait_for("performance.getEntriesByName('first-contentful-paint').length")
            .await;
        browser.wait_for("document.querySelector('#rows tr')").await;
        let paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime";
        painted.push(browser.eval(paint).await.as_f64().expect("a number"));
        let list = "performance.getEntriesByType('resource')
            .find((entry) => entry.name.includes('api/deliveries')).responseEnd";
        listed.push(browser.eval(list).await.as_f64().expect("a number"));
    }
    println!("figure first_paint_ms {:.0}", median(painted));
    println!("figure list_there_ms {:.0}", median(listed));
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
    let rates = callers::rates(&dispatcher, &delivered, time).await;
    people.abort_all();
    dispatcher.shutdown(Duration::from_millis(100)).await;
    rates.delivered
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
