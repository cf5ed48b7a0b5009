//! Without the feature `metrics` there are none. What the rest does with them is written once, and comes
//! to nothing here.

use std::time::Duration;

use super::{EventKind, OutboxCall};
use crate::id::DeliveryId;

pub(crate) enum Metrics {}

impl Metrics {
    pub(crate) fn happened(&self, _: Option<DeliveryId>, _: &EventKind) {
        match *self {}
    }

    pub(crate) fn asked_outbox(&self, _: OutboxCall, _: Duration, _: bool) {
        match *self {}
    }
}
