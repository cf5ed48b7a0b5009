use std::time::Duration;

use super::{AttemptRecord, Lease};
use crate::event::{FailReason, Outcome};

/// What becomes of a leased delivery, for [`Outbox::settle`](super::Outbox::settle).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settlement {
    /// The lease that ends with it.
    pub lease: Lease,
    /// What becomes of the delivery.
    pub verdict: Verdict,
    /// The attempt that has ended; `None` where there was none.
    pub record: Option<AttemptRecord>,
}

/// What becomes of a delivery. Exhaustive: an outbox has to act on each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The endpoint took it: it is due no more. It may be kept for a while, to be looked at.
    Delivered,
    /// It is a [run](super::Outbox::begin), which failed for this reason, and nothing is sent. It may be
    /// kept for a while, to be looked at.
    Failed(FailReason),
    /// It is due again after this time, as the next attempt.
    AgainIn(Duration),
    /// It was not attempted, and is due again after this time, as the same attempt.
    PutOff(Duration),
    /// It is given up, and becomes a dead letter; this is how its last attempt ended.
    Dead(Outcome),
    /// It was not attempted: it is due as it was before it was leased, and as the same attempt. That
    /// holds also for what [`Outbox::close`](super::Outbox::close) hands back, and for a lease that
    /// has run out.
    Released,
    /// It has gone another way, or is a [run](super::Outbox::begin) of which nothing is to be told. Nothing is
    /// kept of it.
    Forgotten,
}

/// What an outbox says of one [`Settlement`]. Exhaustive, as a [`Verdict`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettleOutcome {
    /// It is noted.
    Done,
    /// The lease was lost before: nothing was changed. The dispatcher leaves the delivery to whoever
    /// has it now.
    LeaseLost,
}

impl Settlement {
    /// The end of this lease.
    #[must_use]
    pub fn new(lease: Lease, verdict: Verdict, record: Option<AttemptRecord>) -> Self {
        Self {
            lease,
            verdict,
            record,
        }
    }
}
