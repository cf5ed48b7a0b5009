//! An exporter for Prometheus, as a program has one.

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tower_webhook::event::metrics::BUCKETS;

pub(crate) fn install() -> PrometheusHandle {
    let mut exporter = PrometheusBuilder::new();
    for (name, bounds) in BUCKETS {
        let name = Matcher::Full((*name).to_owned());
        exporter = exporter
            .set_buckets_for_metric(name, bounds)
            .expect("bounds");
    }
    exporter.install_recorder().expect("no other recorder")
}
