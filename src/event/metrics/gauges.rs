use std::time::Duration;

use metrics::gauge;

use super::Metrics;

/// What is so at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Gauges {
    pub(crate) pending: usize,
    pub(crate) waiting: usize,
    pub(crate) attempting: usize,
    pub(crate) settling: usize,
    /// `None` where the outbox cannot be read.
    pub(crate) oldest: Option<Duration>,
    pub(crate) reserved_bytes: usize,
    pub(crate) leases: usize,
    /// `None` of a client that does not say.
    pub(crate) client: Option<ClientUse>,
}

/// What the client has open.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ClientUse {
    pub(crate) connections: usize,
    pub(crate) lookups: usize,
}

impl Metrics {
    /// Seldom, and so without handles that are kept: there is nothing to save.
    pub(crate) fn record_gauges(&self, gauges: Gauges) {
        for (state, number) in [
            ("pending", gauges.pending),
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
        if let Some(client) = gauges.client {
            gauge!("webhook.connections").set(client.connections as f64);
            gauge!("webhook.lookups").set(client.lookups as f64);
        }
    }
}
