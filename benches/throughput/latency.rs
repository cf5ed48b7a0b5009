//! How long healthy deliveries take, from the request to the receiver's answer, while other
//! receivers stall.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use http::HeaderValue;
use tokio::time::timeout;
use tower_webhook::WebhookLayer;

use super::{
    endpoints::{dispatcher, endpoint, request},
    peer::{forward, plain},
    receiver::Receiver,
    window::Window,
};
use crate::{
    row,
    support::{
        args::Args,
        report::Report,
        rounds::{Rounds, quantile},
    },
};

const FIGURES: &[&str] = &["p99_stalled_ratio"];

const STALLED: usize = 100;
/// For each receiver that stalls.
const STALLED_DELIVERIES: usize = 16;
/// Longer than the measurement: none of them ends while it runs.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(300);
const HEALTHY_OUTSTANDING: usize = 8;
/// A turn that takes longer is given up, and counts as this long.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn measure(args: &Args, report: &mut Report) {
    if !args.wants(FIGURES) {
        return;
    }
    let receiver = Receiver::start();
    let healthy = Side::new(&receiver);
    let beside_stalled = Side::new(&receiver);
    beside_stalled.stall(args.pick(STALLED, 4)).await;
    let mut p99 = Rounds::new(2);
    let mut p50 = Rounds::new(2);
    'rounds: for round in 0..args.pick(15, 2) + 1 {
        for side in p99.order() {
            let deliver = [&healthy, &beside_stalled][side].deliver(args.pick(1_000, 50));
            let Ok(micros) = timeout(PATIENCE, deliver).await else {
                p99.add(side, PATIENCE.as_secs_f64() * 1e6);
                p50.add(side, PATIENCE.as_secs_f64() * 1e6);
                break 'rounds;
            };
            // The first round opens connections.
            if round > 0 {
                p99.add(side, quantile(micros.clone(), 0.99));
                p50.add(side, quantile(micros, 0.5));
            }
        }
    }
    let row = |name: &str, side| {
        let [p50, p99, more] = [p50.median(side), p99.median(side), p99.difference(side, 0)]
            .map(|micros| format!("{micros:.0}"));
        row![name, p50, p99, more]
    };
    let table = [
        row!["", "p50, µs", "p99, µs", "more, µs"],
        row("none stalls", 0),
        row("100 receivers stall", 1),
    ];
    report.table("Healthy deliveries, 8 outstanding", &table);
    report.figure("p99_stalled_ratio", p99.ratio(1, 0));
}

/// A dispatcher, and when each of its deliveries began and ended.
struct Side {
    layer: WebhookLayer,
    window: Arc<Window>,
    spans: Arc<Mutex<Vec<(Instant, f64)>>>,
    endpoint: String,
    stalled: u16,
}

impl Side {
    fn new(receiver: &Receiver) -> Self {
        let window = Arc::new(Window::default());
        let spans = Arc::new(Mutex::new(Vec::<(Instant, f64)>::new()));
        let (ends, ended) = (Arc::clone(&window), Arc::clone(&spans));
        let dispatcher = dispatcher()
            .with_attempt_timeout(ATTEMPT_TIMEOUT)
            .on_event(move |event| {
                let number = event
                    .request_id()
                    .and_then(|id| id.as_str().parse::<usize>().ok());
                if let (true, Some(number)) = (event.is_final(), number) {
                    let mut spans = ended.lock().expect("nobody panics with it");
                    if let Some((began, micros)) = spans.get_mut(number) {
                        *micros = began.elapsed().as_secs_f64() * 1e6;
                    }
                    ends.leave(true);
                }
            })
            .build();
        Self {
            layer: WebhookLayer::new().with_dispatcher(dispatcher),
            window,
            spans,
            endpoint: endpoint("http", 0, receiver.http),
            stalled: receiver.stalled,
        }
    }

    /// Deliveries to that many receivers which never answer.
    async fn stall(&self, receivers: usize) {
        let mut service = plain(&self.layer);
        for number in 1..=receivers {
            for _ in 0..STALLED_DELIVERIES {
                let request = request(&endpoint("http", number, self.stalled));
                forward(&mut service, request).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }

    /// The microseconds that each delivery took.
    async fn deliver(&self, number: usize) -> Vec<f64> {
        self.spans.lock().expect("nobody panics with it").clear();
        let mut service = plain(&self.layer);
        for at in 0..number {
            let mut request = request(&self.endpoint);
            let id = HeaderValue::from(at);
            request.headers_mut().insert("x-request-id", id);
            self.window.room(HEALTHY_OUTSTANDING).await;
            self.window.enter();
            let now = (Instant::now(), f64::NAN);
            self.spans.lock().expect("nobody panics with it").push(now);
            forward(&mut service, request).await;
        }
        self.window.at_most(0).await;
        let spans = self.spans.lock().expect("nobody panics with it");
        spans.iter().map(|&(_, micros)| micros).collect()
    }
}
