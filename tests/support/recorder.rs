//! What Prometheus would read, of one test alone.

use metrics::LocalRecorderGuard;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tower_webhook::{Dispatcher, event::metrics::BUCKETS};

/// The recorder of this thread, for as long as it lives. Dispatchers are built, and run, on it.
pub(crate) struct Recorder {
    handle: PrometheusHandle,
    _installed: LocalRecorderGuard<'static>,
}

impl Recorder {
    pub(crate) fn install() -> Self {
        let mut builder = PrometheusBuilder::new().with_recommended_naming(true);
        for (name, bounds) in BUCKETS {
            let name = Matcher::Full((*name).to_owned());
            builder = builder.set_buckets_for_metric(name, bounds).unwrap();
        }
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        // A test is short, and ends with its process.
        let recorder = Box::leak(Box::new(recorder));
        Self {
            handle,
            _installed: metrics::set_default_local_recorder(recorder),
        }
    }

    pub(crate) fn page(&self) -> String {
        self.handle.render()
    }

    /// The value of a series, as it is written on the page: with all of its labels.
    pub(crate) fn value(&self, series: &str) -> Option<f64> {
        let page = self.page();
        let mut values = page.lines().filter_map(|line| {
            let value = line.strip_prefix(series)?.strip_prefix(' ')?;
            Some(value.parse().unwrap())
        });
        values.next()
    }

    /// Has the gauges written, and reads one.
    pub(crate) async fn gauge(&self, dispatcher: &Dispatcher, series: &str) -> Option<f64> {
        dispatcher.record_gauges().await;
        self.value(series)
    }
}
