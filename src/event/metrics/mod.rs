//! Metrics of a dispatcher that is built [with them](crate::dispatch::DispatcherBuilder::with_metrics)
//! (feature `metrics`), for whichever exporter of the [`metrics`](https://docs.rs/metrics) facade the
//! program has.
//!
//! | name | kind, unit | labels | what it is |
//! | --- | --- | --- | --- |
//! | `webhook.accepted` | counter | | calls that asked for a webhook and for which there was room |
//! | `webhook.refused` | counter | `reason`: [`Refusal::name`] | calls that asked for one and were answered with 400, 503 or 508 |
//! | `webhook.attempt.duration` | histogram, s | `outcome`: the status, or [`AttemptError::name`] | attempts that have ended |
//! | `webhook.delivery.duration` | histogram, s | `outcome`: `delivered`, `kept`, `handed-over`, `dead`, `failed`, `abandoned` | webhooks that have ended, from when they were accepted |
//! | `webhook.noticed` | counter | `reason`: [`FailReason::name`] | webhooks whose response never became a delivery, and whose endpoint is sent a failure notice |
//! | `webhook.dead` | counter | | deliveries whose last attempt failed |
//! | `webhook.outbox.duration` | histogram, s | `operation`: `insert`, `begin`, `fetch`, `settle`, `renew`, `forward`; `outcome`: `ok`, `failed` | calls of a durable outbox, each of a whole batch |
//! | `webhook.outbox.failed` | counter | | deliveries that the outbox did not take, and runs that it did not record |
//! | `webhook.outstanding` | gauge | `state`: `pending`, `waiting`, `attempting`, `settling` | what this process has in hand, each thing in one state |
//! | `webhook.oldest.age` | gauge, s | | for how long the delivery that has been due the longest has waited for its attempt; 0 where none is due |
//! | `webhook.reserved` | gauge, By | | memory that is reserved for payloads |
//! | `webhook.leases` | gauge | | deliveries and runs of a durable outbox that are leased to this process |
//! | `webhook.connections` | gauge | | connections to receivers, those included that are being opened or are kept for later |
//! | `webhook.lookups` | gauge | | names that are being looked up |
//!
//! No label has a value that a caller chooses: there is no host, no URL and no id. A status is its number
//! where it is a registered one, and its class otherwise (`4xx`): a receiver cannot make a series of its own
//! for each of 900 statuses.
//!
//! # What they mean
//!
//! - A delivery's duration is that between the time in its [`DeliveryId`] and its end, by the wall clock. So
//!   any process can tell it, whichever has accepted the delivery. One that was delivered again counts from
//!   when it was accepted first. An id of one's own that is no UUID of version 7 has no time in it: of such
//!   a delivery no duration is recorded.
//! - `kept` is what a caller [looks up](crate::status()) and nobody sends. `handed-over` went to a sink, or on
//!   to another outbox.
//! - `webhook.dead` is a counter, of what this process has seen die. How many dead letters there are, the
//!   outbox alone knows; and that number falls when old ones are dropped, which says nothing of receivers.
//! - `pending` are webhooks whose response is not complete. `waiting` was leased to this process and waits for
//!   a permit. What waits in an outbox, also in that in memory, is in none of these states: for its next attempt, or
//!   for a process that leases it. `settling` is what the outbox was told and has not noted yet.
//! - A webhook that was [noticed](super::EventKind::Noticed) is told of its failure by a delivery, which ends as
//!   others do: `failed` has only those of which the endpoint is told nothing.
//! - `webhook.oldest.age` is the alarm: the longest of what waits for a permit in this process, since it was leased
//!   here, and of what the outbox says of all that is due there and leased to nobody
//!   ([`Outbox::oldest_due`](crate::outbox::Outbox::oldest_due)), whoever has put it there. What waits for its
//!   time, after a failed attempt, is not due. It is not a number (NaN) where the outbox cannot be read. Of an
//!   outbox that cannot tell, as one in NATS, it has what was leased to this process only.
//! - An outbox in memory has no duration.
//! - A client of one's own says nothing of its connections and look-ups: there are no such gauges then.
//!
//! Counters and histograms are written when something happens. Gauges are written by
//! [`Dispatcher::record_gauges`](crate::Dispatcher::record_gauges), which an exporter calls before it renders
//! them. Counters begin with 0; a histogram is there once it has a value. Several dispatchers in one process
//! add up in counters and histograms, and overwrite each other's gauges.
//!
//! # Example
//!
//! The recorder is installed before the dispatcher is built, and the buckets are set there:
//!
//! ```
//! use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
//! use tower_webhook::{Dispatcher, event::metrics::BUCKETS};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut exporter = PrometheusBuilder::new().with_recommended_naming(true);
//! for (name, bounds) in BUCKETS {
//!     exporter = exporter.set_buckets_for_metric(Matcher::Full(name.to_string()), bounds)?;
//! }
//! let exporter = exporter.install_recorder()?;
//! let dispatcher = Dispatcher::builder().with_metrics().build();
//!
//! // For whoever asks for /metrics:
//! dispatcher.record_gauges().await;
//! let page = exporter.render();
//! assert!(page.contains("webhook_accepted_total 0"));
//! assert!(page.contains("webhook_oldest_age_seconds 0"));
//! # Ok(())
//! # }
//! ```
//!
//! [`FailReason::name`]: super::FailReason::name
//! [`Refusal::name`]: super::Refusal::name
//! [`AttemptError::name`]: super::AttemptError::name
//! [`DeliveryId`]: crate::DeliveryId

mod buckets;
mod describe;
mod gauges;
mod outcomes;

use std::time::Duration;

use metrics::{Counter, counter};

pub use self::buckets::BUCKETS;
pub(crate) use self::gauges::{ClientUse, Gauges};
use self::outcomes::{AttemptDurations, DeliveryDurations, OutboxDurations};
use super::{EventKind, FailReason, OutboxCall, Refusal};
use crate::id::DeliveryId;

/// The counters and histograms of a dispatcher. Each is registered once, so that recording is a few
/// atomic operations.
pub(crate) struct Metrics {
    accepted: Counter,
    refused: Vec<(Refusal, Counter)>,
    noticed: Vec<(FailReason, Counter)>,
    dead: Counter,
    outbox_failed: Counter,
    attempts: AttemptDurations,
    deliveries: DeliveryDurations,
    outbox: OutboxDurations,
}

fn count<R: PartialEq>(counters: &[(R, Counter)], reason: &R) {
    if let Some((_, counter)) = counters.iter().find(|(of, _)| of == reason) {
        counter.increment(1);
    }
}

impl Metrics {
    /// With the recorder that is installed now.
    pub(crate) fn new() -> Self {
        describe::all();
        let of_reason = |&refusal: &Refusal| {
            let counter = counter!("webhook.refused", "reason" => refusal.name());
            (refusal, counter)
        };
        let of_failure = |&reason: &FailReason| {
            let counter = counter!("webhook.noticed", "reason" => reason.name());
            (reason, counter)
        };
        let told = FailReason::ALL.iter().filter(|reason| reason.is_told());
        Self {
            accepted: counter!("webhook.accepted"),
            refused: Refusal::ALL.iter().map(of_reason).collect(),
            noticed: told.map(of_failure).collect(),
            dead: counter!("webhook.dead"),
            outbox_failed: counter!("webhook.outbox.failed"),
            attempts: AttemptDurations::new(),
            deliveries: DeliveryDurations::new(),
            outbox: OutboxDurations::new(),
        }
    }

    /// `id` is `None` of what was refused before it had one.
    pub(crate) fn happened(&self, id: Option<DeliveryId>, kind: &EventKind) {
        match kind {
            EventKind::Accepted => self.accepted.increment(1),
            EventKind::Refused(refusal) => count(&self.refused, refusal),
            EventKind::Noticed(reason) => count(&self.noticed, reason),
            EventKind::Attempted { outcome, took, .. } => self.attempts.record(*outcome, *took),
            EventKind::OutboxFailed => self.outbox_failed.increment(1),
            EventKind::Dead { .. } => self.dead.increment(1),
            _ => {}
        }
        self.deliveries.record(id, kind);
    }

    pub(crate) fn asked_outbox(&self, call: OutboxCall, took: Duration, is_ok: bool) {
        self.outbox.record(call, took, is_ok);
    }
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn each_refusal_is_counted_as_itself() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            let metrics = Metrics::new();
            for refusal in Refusal::ALL {
                metrics.happened(None, &EventKind::Refused(*refusal));
            }
        });
        let page = recorder.handle().render();
        for refusal in Refusal::ALL {
            let line = format!("webhook_refused{{reason=\"{}\"}} 1\n", refusal.name());
            assert!(page.contains(&line), "{page}");
        }
    }

    #[test]
    fn without_a_recorder_nothing_happens() {
        let metrics = Metrics::new();
        metrics.happened(Some(DeliveryId::fresh()), &EventKind::HandedOver);
        metrics.asked_outbox(OutboxCall::Fetch, Duration::ZERO, true);
    }
}
