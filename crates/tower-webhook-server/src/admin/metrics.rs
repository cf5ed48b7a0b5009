//! `/metrics`: what Prometheus reads.

use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::time::{MissedTickBehavior, interval};
use tower_webhook::{Dispatcher, event::metrics::BUCKETS};

/// What metrics are recorded with. It is installed before the dispatcher is built.
#[derive(Clone)]
pub(super) struct Exporter(PrometheusHandle);

/// The text format, in the version that its exporter writes.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// So often what was recorded is added up: until then each value takes memory.
const UPKEEP: Duration = Duration::from_secs(5);

impl Exporter {
    pub(super) fn install() -> Result<Self, BuildError> {
        Ok(Self(builder()?.install_recorder()?))
    }

    /// For as long as the process runs.
    pub(super) async fn keep_up(self) {
        let mut ticks = interval(UPKEEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.0.run_upkeep();
        }
    }

    pub(super) async fn page(&self, dispatcher: &Dispatcher) -> String {
        dispatcher.record_gauges().await;
        self.0.render()
    }

    /// One that nothing is recorded with.
    #[cfg(test)]
    pub(super) fn idle() -> Self {
        Self(builder().unwrap().build_recorder().handle())
    }
}

/// `_total` and units are parts of names, as Prometheus recommends.
fn builder() -> Result<PrometheusBuilder, BuildError> {
    let named = PrometheusBuilder::new().with_recommended_naming(true);
    BUCKETS.iter().try_fold(named, |builder, (name, bounds)| {
        builder.set_buckets_for_metric(Matcher::Full((*name).to_owned()), bounds)
    })
}
