//! What an attempt's end leads to.

use std::time::Duration;

use tokio::time::Instant;

use super::{NextAttempt, Worker, unsent::NOT_SENT};
use crate::{
    attempt::{AttemptStart, deadline},
    delivery::Delivery,
    dispatch::{
        core::wake,
        hub::Bring,
        scheduler::AttemptEnd,
        settle::{Conclusion, End, settle},
        store::{Job, Which},
    },
    event::{AttemptError, EventKind, Outcome},
    outbox::{AttemptRecord, Settlement, Verdict},
};

/// From so many failures in a row on, those of a host are logged quietly.
const FAILURES_LOGGED: u32 = 16;

impl Worker {
    /// The attempt's permit is free: who starts in its place? `None` for a job that is somebody else's, or that was put off.
    pub(super) fn end(
        &self,
        permit: u64,
        outcome: Outcome,
        now: Instant,
    ) -> (Option<(Job, u32)>, Option<NextAttempt>) {
        let mut hub = self.core.hub();
        let ended = match outcome {
            Outcome::Failed(AttemptError::Crowded) if hub.put_off(permit, now) => None,
            _ => hub.end(permit, ended(outcome), now),
        };
        let next = hub.start(self.link.id, now);
        // An answer may make room for more than one.
        let bring = match next {
            Some(_) => hub.bring(self.link.id, now),
            None => Bring::Nobody,
        };
        let keepers = hub.keepers_to_wake(next.is_some().then_some(self.link.id), now);
        if hub.scheduler.take_hungry() && hub.given.has_more() {
            self.core.fetch_soon(hub, Which::Given, now);
        } else {
            drop(hub);
        }
        self.core.carry_out(bring);
        wake(keepers);
        (ended, next)
    }

    /// Reports how an attempt went, and has the outbox note what becomes of the delivery.
    pub(super) fn conclude(
        &self,
        job: Job,
        begun: AttemptStart,
        outcome: Outcome,
        took: Duration,
        failures: u32,
    ) {
        let core = &*self.core;
        let Job {
            delivery,
            attempt,
            lease,
            which,
            ..
        } = job;
        let policy = core.retry.of(delivery.endpoint().host_key().name());
        let verdict = policy.verdict(delivery.request_id(), attempt, outcome);
        let record = AttemptRecord::new(attempt, begun.at, took, outcome);
        let is_quiet = failures > FAILURES_LOGGED;
        let report = |kind| {
            let events = &core.events;
            let (id, request_id) = (delivery.id(), delivery.request_id());
            events.of_attempt(id, request_id, delivery.endpoint(), kind, is_quiet);
        };
        report(EventKind::Attempted {
            attempt,
            outcome,
            took,
            again_in: match verdict {
                Verdict::AgainIn(delay) => Some(delay),
                _ => None,
            },
        });
        if failures == FAILURES_LOGGED {
            tracing::warn!(
                endpoint = ?delivery.endpoint(),
                failures,
                "a host fails again and again: further failures of it are logged as debug"
            );
        }
        let settlement = Settlement::new(lease, verdict, Some(record));
        let end = match verdict {
            Verdict::Delivered => Some(EventKind::Delivered { attempts: attempt }),
            Verdict::Dead(last) => Some(EventKind::Dead {
                attempts: attempt,
                last,
            }),
            _ => None,
        };
        let end = end.map(|kind| {
            self.give_up_reservation(&delivery, outcome);
            End::Attempted {
                delivery,
                kind,
                is_quiet,
            }
        });
        let conclusion = Conclusion::new(settlement, end);
        settle(&self.core, &self.link, which, conclusion);
    }

    /// The same of what is not sent: no attempt is reported, and none is noted.
    pub(super) fn conclude_unsent(&self, job: Job, verdict: Verdict, end: Option<EventKind>) {
        let Job {
            delivery,
            lease,
            which,
            ..
        } = job;
        let end = end.map(|kind| {
            self.give_up_reservation(&delivery, NOT_SENT);
            End::Attempted {
                delivery,
                kind,
                is_quiet: false,
            }
        });
        let conclusion = Conclusion::new(Settlement::new(lease, verdict, None), end);
        settle(&self.core, &self.link, which, conclusion);
    }

    /// Before the end is reported: whoever hears of it can rely on the reservation being free again.
    fn give_up_reservation(&self, delivery: &Delivery, outcome: Outcome) {
        let Some(reservation) = delivery.take_reservation() else {
            return;
        };
        if outcome != Outcome::Failed(AttemptError::Forbidden) {
            return;
        }
        let core = &*self.core;
        let policy = core.retry.of(delivery.endpoint().host_key().name());
        let until = deadline(Instant::now(), policy.time_to_fail(delivery.request_id()));
        let mut hub = core.hub();
        hub.quarantine.hold(reservation, until);
        let keepers = hub.other_keepers(None);
        drop(hub);
        wake(keepers);
    }
}

fn ended(outcome: Outcome) -> AttemptEnd {
    match outcome {
        Outcome::Answered { .. } => AttemptEnd::Answered,
        // It was not asked.
        Outcome::Failed(AttemptError::Crowded) => AttemptEnd::CutOff,
        Outcome::Failed(_) => AttemptEnd::Failed,
    }
}
