use std::time::Duration;

use metrics::gauge;

use super::Metrics;

/// What is so at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Gauges {
    pub(crate) running: usize,
    pub(crate) waiting: usize,
    pub(crate) attempting: usize,
    pub(crate) settling: usize,
    /// `None` where the outbox cannot be read.
    pub(crate) oldest: Option<Duration>,
    pub(crate) reserved_bytes: usize,
    pub(crate) leases: usize,
    /// Connections and look-ups; `None` of a client that does not say.
    pub(crate) client: Option<(usize, usize)>,
}

impl Metrics {
    /// Seldom, and so without handles that are kept: there is nothing to save.
    pub(crate) fn record_gauges(&self, gauges: Gauges) {
        for (state, number) in [
            ("running", gauges.running),
            ("waiting", gauges.waiting),
            ("attempting", gauges.attempting),
            ("settling", gauges.settling),
        ] {
            gauge!("webhook.outstanding", "state" => state).set(number as f64);
        }
        let oldest = gauges
            .oldest
            .map_or(f64::NAN, |oldest| oldest.as_secs_f64());
        gauge!("webhook.oldest.age").set(oldest);
        gauge!("webhook.reserved").set(gauges.reserved_bytes as f64);
        gauge!("webhook.leases").set(gauges.leases as f64);
        if let Some((connections, lookups)) = gauges.client {
            gauge!("webhook.connections").set(connections as f64);
            gauge!("webhook.lookups").set(lookups as f64);
        }
    }
}
