//! Deliveries that this process does not send: they go on to another outbox, or are looked up.

use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use super::Permit;
use crate::{
    dispatch::forward::FarOutbox,
    event::{AttemptError, EventKind, OutboxCall, Outcome},
    outbox::Verdict,
};

/// How long what was put off for some time waits in its outbox.
const FORWARDED_AGAIN_IN: Duration = Duration::from_secs(30);

/// What is not sent has a host that always answers.
pub(super) const NOT_SENT: Outcome = Outcome::Answered {
    status: StatusCode::NO_CONTENT,
    retry_after: None,
};

impl Permit<'_> {
    /// There is nothing to send: whoever made the call looks its result up.
    pub(super) fn keep(mut self) -> Option<Self> {
        self.has_ended = true;
        let (ended, next) = self.worker.end(self.number, NOT_SENT, Instant::now());
        if let Some((job, _)) = ended {
            let end = EventKind::Delivered { attempts: 0 };
            self.worker
                .conclude_unsent(job, Verdict::Delivered, Some(end));
        }
        next.map(|started| Self::new(self.worker, started))
    }

    /// Puts it where others attempt it. Where that takes nothing for now, it is put off.
    pub(super) async fn forward(mut self, far: &FarOutbox) -> Option<Self> {
        let (outcome, verdict, end) = if !far.takes(&self.delivery) {
            let last = Outcome::Failed(AttemptError::TooLarge);
            let dead = EventKind::Dead { attempts: 0, last };
            (NOT_SENT, Verdict::Dead(last), Some(dead))
        } else if self.is_taken(far).await {
            (NOT_SENT, Verdict::Forgotten, Some(EventKind::HandedOver))
        } else {
            let crowded = Outcome::Failed(AttemptError::Crowded);
            (crowded, Verdict::PutOff(FORWARDED_AGAIN_IN), None)
        };
        self.has_ended = true;
        let (ended, next) = self.worker.end(self.number, outcome, Instant::now());
        if let Some((job, _)) = ended {
            self.worker.conclude_unsent(job, verdict, end);
        }
        next.map(|started| Self::new(self.worker, started))
    }

    async fn is_taken(&self, far: &FarOutbox) -> bool {
        let began = Instant::now();
        let accepted_at = self.worker.core.hub().accepted_at(self.number);
        let is_taken = far.take(&self.delivery, accepted_at).await;
        if let Some(metrics) = self.worker.core.events.metrics() {
            metrics.asked_outbox(OutboxCall::Forward, began.elapsed(), is_taken);
        }
        is_taken
    }
}
