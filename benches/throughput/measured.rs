//! What metrics cost a delivery: the same dispatcher with an exporter for Prometheus, and without one.

use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;

use super::{
    deliveries::{load, table},
    endpoints::{dispatcher, endpoint},
    peer::{Layered, Peer, compare, plain},
    receiver::Receiver,
};
use crate::{
    exporter,
    support::{args::Args, report::Report},
};

const VS_NONE: &str = "metrics_vs_none";
const OUTSTANDING: usize = 256;

pub(crate) async fn measure(args: &Args, report: &mut Report) {
    if !args.wants(&[VS_NONE]) {
        return;
    }
    let upkeep = tokio::spawn(keep_up(exporter::install()));
    let receiver = Receiver::start();
    let to = vec![endpoint("http", 0, receiver.http)];
    let mut with = Layered::new(dispatcher().with_metrics(), to.clone(), plain);
    let mut without = Layered::new(dispatcher(), to, plain);
    let peers: &mut [&mut dyn Peer] = &mut [&mut with, &mut without];
    let compared = compare(args.pick(101, 2), load(args, OUTSTANDING), peers).await;
    let rows = [("with metrics", 1), ("without", 1)];
    let title = "Deliveries of 1 KiB to one receiver, with metrics and without";
    table(report, title, peers, &compared, &rows);
    report.figure(VS_NONE, compared.rates.ratio(0, 1));
    upkeep.abort();
}

/// As an exporter does, more often.
async fn keep_up(exporter: PrometheusHandle) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        exporter.run_upkeep();
    }
}
