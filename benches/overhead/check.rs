//! How long an endpoint takes to be judged as it is written. A dispatcher remembers those that were
//! lately named, so this is the cost of a new one.

use std::{hint::black_box, time::Instant};

use tower_webhook::EndpointPolicy;

use crate::{
    row,
    support::{args::Args, report::Report, rounds::median},
};

pub(crate) const FIGURES: &[&str] = &["check_us"];

const CALLS: usize = 1_000;
/// The first is the ordinary one.
const ENDPOINTS: [(&str, &str); 4] = [
    (
        "a URL",
        "https://hooks.example.com/services/T024BE7LD/B0DCG?token=0123456789abcdef",
    ),
    ("with a port", "https://hooks.example.com:8443/in"),
    ("an international name", "https://b\u{fc}cher.example/in"),
    ("a refused address", "https://[::ffff:127.0.0.1]/in"),
];

pub(crate) fn measure(args: &Args, report: &mut Report) {
    let policy = EndpointPolicy::public();
    let mut table = vec![row!["endpoint", "µs"]];
    let mut ordinary = f64::NAN;
    for (name, endpoint) in ENDPOINTS {
        let micros = (0..args.pick(501, 5)).map(|_| time(&policy, endpoint));
        let micros = median(micros.collect());
        if ordinary.is_nan() {
            ordinary = micros;
        }
        table.push(row![name, format!("{micros:.2}")]);
    }
    report.table("EndpointPolicy::check", &table);
    report.figure(FIGURES[0], ordinary);
}

/// Microseconds for each call.
fn time(policy: &EndpointPolicy, endpoint: &str) -> f64 {
    let started = Instant::now();
    for _ in 0..CALLS {
        let _ = black_box(policy.check(black_box(endpoint)));
    }
    started.elapsed().as_secs_f64() * 1e6 / CALLS as f64
}
