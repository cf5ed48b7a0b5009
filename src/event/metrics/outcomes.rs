//! The histograms, one for each value of their labels. Each is registered when it is first used: an
//! exporter shows a whole series of buckets for one, even where it never has a value.

use std::{
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use http::StatusCode;
use metrics::{Histogram, histogram};

use crate::{
    event::{AttemptError, EventKind, OutboxCall, Outcome},
    id::DeliveryId,
};

type Slots = Box<[OnceLock<Histogram>]>;

fn slots(number: usize) -> Slots {
    std::iter::repeat_with(OnceLock::new).take(number).collect()
}

/// Registered statuses have their numbers as places; classes and errors have those that are free below.
pub(super) struct AttemptDurations(Slots);

/// The first place of an error: there are ten classes before it.
const FIRST_ERROR: usize = 10;
/// The numbers below are those of statuses that are registered.
const END_OF_REGISTERED: usize = 600;

impl AttemptDurations {
    pub(super) fn new() -> Self {
        Self(slots(END_OF_REGISTERED))
    }

    pub(super) fn record(&self, outcome: Outcome, took: Duration) {
        let of_it = self.0[place(outcome)]
            .get_or_init(|| histogram!("webhook.attempt.duration", "outcome" => label(outcome)));
        of_it.record(took.as_secs_f64());
    }
}

fn is_registered(status: StatusCode) -> bool {
    status.canonical_reason().is_some() && usize::from(status.as_u16()) < END_OF_REGISTERED
}

fn place(outcome: Outcome) -> usize {
    match outcome {
        Outcome::Answered { status, .. } if is_registered(status) => status.as_u16().into(),
        Outcome::Answered { status, .. } => usize::from(status.as_u16() / 100).min(FIRST_ERROR - 1),
        Outcome::Failed(error) => FIRST_ERROR + error as usize,
    }
}

fn label(outcome: Outcome) -> String {
    match outcome {
        Outcome::Answered { status, .. } if is_registered(status) => status.as_str().to_owned(),
        Outcome::Answered { status, .. } => format!("{}xx", status.as_u16() / 100),
        Outcome::Failed(error) => error.name().to_owned(),
    }
}

// Errors are places between the classes and the first status.
const _: () = assert!(FIRST_ERROR + AttemptError::ALL.len() <= 100);

pub(super) struct DeliveryDurations(Slots);

const ENDS: [&str; 6] = [
    "delivered",
    "kept",
    "handed-over",
    "dead",
    "failed",
    "abandoned",
];

impl DeliveryDurations {
    pub(super) fn new() -> Self {
        Self(slots(ENDS.len()))
    }

    /// Where it is the end of a delivery.
    pub(super) fn record(&self, id: Option<DeliveryId>, kind: &EventKind) {
        let place = match kind {
            EventKind::Delivered { attempts: 0 } => 1,
            EventKind::Delivered { .. } => 0,
            EventKind::HandedOver => 2,
            EventKind::Dead { .. } => 3,
            EventKind::Failed(_) => 4,
            EventKind::Abandoned => 5,
            _ => return,
        };
        let Some(accepted_at) = id.and_then(DeliveryId::made_at) else {
            return;
        };
        // A clock that was set back since counts as no time.
        let took = SystemTime::now().duration_since(accepted_at);
        let of_it = self.0[place]
            .get_or_init(|| histogram!("webhook.delivery.duration", "outcome" => ENDS[place]));
        of_it.record(took.unwrap_or_default().as_secs_f64());
    }
}

pub(super) struct OutboxDurations(Slots);

impl OutboxDurations {
    pub(super) fn new() -> Self {
        Self(slots(2 * OutboxCall::ALL.len()))
    }

    pub(super) fn record(&self, call: OutboxCall, took: Duration, is_ok: bool) {
        let of_it = self.0[2 * (call as usize) + usize::from(is_ok)].get_or_init(|| {
            let outcome = if is_ok { "ok" } else { "failed" };
            histogram!("webhook.outbox.duration", "operation" => call.name(), "outcome" => outcome)
        });
        of_it.record(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    #[test]
    fn a_receiver_cannot_make_a_series_for_each_status() {
        let answered = |status| Outcome::answered(StatusCode::from_u16(status).unwrap(), None);
        let statuses = (100..=999).map(answered);
        let errors = AttemptError::ALL
            .iter()
            .map(|error| Outcome::Failed(*error));
        let mut labels = HashMap::new();
        for outcome in statuses.chain(errors) {
            let before = labels.insert(place(outcome), label(outcome));
            assert!(before.is_none_or(|before| before == label(outcome)));
        }
        let values: HashSet<_> = labels.values().collect();
        assert_eq!(values.len(), labels.len(), "each has one place");
        assert!(values.len() < 100, "{}", values.len());
        assert_eq!(label(answered(503)), "503");
        assert_eq!(label(answered(499)), "4xx");
        assert_eq!(label(answered(999)), "9xx");
    }
}
