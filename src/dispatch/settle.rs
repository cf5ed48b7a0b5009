//! How the end of an attempt gets into the outbox: at once where that keeps deliveries in memory, in
//! groups where it has a disk or a network to wait for. No attempt waits for it.

use std::{
    collections::VecDeque,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

use tokio::time::{Instant, sleep_until, timeout};

use super::{
    core::{Core, wake},
    group::Bounds,
    hub::RuntimeLink,
    store::Which,
};
use crate::{
    delivery::Delivery,
    error::BoxError,
    event::{AttemptError, EventKind, Events, OutboxCall, Outcome},
    outbox::{
        AttemptRecord, Lease, LeasedDelivery, OutboxFuture, SettleOutcome, Settlement, Unreadable,
        Verdict,
    },
};

/// What one call settles at most.
const MOST_AT_ONCE: usize = 1_024;
/// After this time an outbox that has not answered is asked for nothing new.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long it is until what was not noted is settled again.
const PAUSE: Duration = Duration::from_secs(1);

/// What becomes of a delivery, and the event in which it ends: that is reported once the outbox has
/// noted it, or cannot.
pub(super) struct Conclusion {
    settlement: Settlement,
    end: Option<End>,
}

pub(super) enum End {
    Attempted {
        delivery: Delivery,
        kind: EventKind,
        /// Of a host that fails again and again.
        is_quiet: bool,
    },
    Unreadable {
        leased: LeasedDelivery,
        reason: Unreadable,
    },
}

impl Conclusion {
    pub(super) fn new(settlement: Settlement, end: Option<End>) -> Self {
        Self { settlement, end }
    }

    /// Of what the outbox gave and nobody can read: it is never sent.
    pub(super) fn unreadable(leased: LeasedDelivery, reason: Unreadable) -> Self {
        let last = Outcome::Failed(AttemptError::Unreadable);
        let now = SystemTime::now();
        let record = AttemptRecord::new(leased.attempt, now, Duration::ZERO, last);
        Self {
            settlement: Settlement::new(leased.lease, Verdict::Dead(last), Some(record)),
            end: Some(End::Unreadable { leased, reason }),
        }
    }

    fn report(&mut self, events: &Events) {
        if let Some(end) = self.end.take() {
            end.report(events);
        }
    }

    /// Its lease was lost: what was taken is so, and what was given up is delivered by others.
    fn goes_on_elsewhere(&mut self) {
        if let Verdict::Dead(_) = self.settlement.verdict {
            self.end = None;
        }
    }
}

impl End {
    fn report(self, events: &Events) {
        match self {
            Self::Attempted {
                delivery,
                kind,
                is_quiet,
            } => {
                let (id, request_id) = (delivery.id(), delivery.request_id());
                events.of_attempt(id, request_id, delivery.endpoint(), kind, is_quiet);
            }
            Self::Unreadable { leased, reason } => {
                let LeasedDelivery {
                    stored, attempt, ..
                } = &leased;
                events.unreadable(
                    stored.id,
                    &stored.request_id,
                    &stored.host,
                    *attempt,
                    &reason,
                );
            }
        }
    }
}

impl From<Settlement> for Conclusion {
    fn from(settlement: Settlement) -> Self {
        Self::new(settlement, None)
    }
}

/// Has the outbox note what becomes of a delivery.
pub(super) fn settle(
    core: &Arc<Core>,
    link: &Arc<RuntimeLink>,
    which: Which,
    mut conclusion: Conclusion,
) {
    let (is_durable, is_stuck) = {
        let mut hub = core.hub();
        let store = hub.store(which);
        store.unsettled += 1;
        (store.is_durable, store.is_stuck())
    };
    if is_stuck {
        conclusion.report(&core.events);
    }
    if is_durable {
        settle_together(core, link, [conclusion]);
    } else {
        settle_now(core, link, which, conclusion);
    }
}

/// An outbox in memory is done as soon as it is asked. Where it is not, a task waits for it.
fn settle_now(core: &Arc<Core>, link: &RuntimeLink, which: Which, conclusion: Conclusion) {
    let mut batch = vec![conclusion];
    let mut asked = ask(core, which, &batch);
    match asked.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => note(core, which, &mut batch, &answer),
        Poll::Pending => {
            let core = Arc::clone(core);
            link.handle.spawn(async move {
                let answer = patient(&core, which, &mut batch, asked).await;
                note(&core, which, &mut batch, &answer);
            });
        }
    }
}

/// With those of this runtime that wait for their turn.
pub(super) fn settle_together(
    core: &Arc<Core>,
    link: &Arc<RuntimeLink>,
    conclusions: impl IntoIterator<Item = Conclusion>,
) {
    if link.conclusions.push(conclusions) {
        let writer = Writer {
            core: Arc::clone(core),
            link: Arc::clone(link),
            batch: Vec::new(),
            late: VecDeque::new(),
            late_at: Instant::now(),
            is_over: false,
        };
        link.handle.spawn(writer.run());
    }
}

/// Settles what waits in a runtime, batch by batch. Where the runtime ends first, what was not noted
/// is settled in another one; an outbox that had noted it says that the lease is lost.
struct Writer {
    core: Arc<Core>,
    link: Arc<RuntimeLink>,
    batch: Vec<Conclusion>,
    /// What was not noted is tried again every now and then, and keeps nothing else waiting: a single
    /// row may be the reason. Until then its lease is renewed, so that it is not sent again.
    late: VecDeque<Conclusion>,
    late_at: Instant,
    is_over: bool,
}

impl Writer {
    async fn run(mut self) {
        loop {
            self.batch = match self.late.is_empty() {
                true => self.link.conclusions.next(&Bounds::at_most(MOST_AT_ONCE)),
                false => self.link.conclusions.more(&Bounds::at_most(MOST_AT_ONCE)),
            };
            if self.batch.is_empty() && self.late.is_empty() {
                self.is_over = true;
                return;
            }
            let is_noted = !self.batch.is_empty() && self.settle_batch().await;
            self.batch.clear();
            if self.late.is_empty() {
                continue;
            }
            if !is_noted {
                sleep_until(self.late_at).await;
            }
            if Instant::now() >= self.late_at {
                self.settle_late().await;
                self.late_at = Instant::now() + PAUSE;
            }
        }
    }

    /// Says whether the outbox noted any of it.
    async fn settle_batch(&mut self) -> bool {
        let number = self.batch.len();
        let Err(error) = settle_all(&self.core, &mut self.batch).await else {
            return true;
        };
        tracing::error!(%error, "the outbox did not note how attempts ended");
        // One of them may be the reason.
        if number > 1 {
            self.settle_one_by_one().await;
        }
        let is_noted = self.batch.len() < number;
        if self.late.is_empty() {
            self.late_at = Instant::now() + PAUSE;
        }
        self.late.extend(self.batch.drain(..));
        is_noted
    }

    /// Leaves those that were not noted.
    async fn settle_one_by_one(&mut self) {
        let mut failures = 0;
        for at in (0..self.batch.len()).rev() {
            match settle_all(&self.core, &mut self.batch[at..=at]).await {
                Ok(()) => drop(self.batch.swap_remove(at)),
                Err(_) if failures > 1 => return,
                Err(_) => failures += 1,
            }
        }
    }

    /// All together, or one by one until some have failed: the others have their turn the next time.
    async fn settle_late(&mut self) {
        let mut failures = 0;
        let late = self.late.make_contiguous();
        let Err(error) = settle_all(&self.core, late).await else {
            self.late.clear();
            return;
        };
        tracing::error!(%error, late = self.late.len(), "the outbox still did not note how attempts ended");
        if self.late.len() < 2 {
            return;
        }
        for _ in 0..self.late.len() {
            let Some(first) = self.late.front_mut() else {
                return;
            };
            match settle_all(&self.core, std::slice::from_mut(first)).await {
                Ok(()) => drop(self.late.pop_front()),
                Err(_) => {
                    self.late.rotate_left(1);
                    failures += 1;
                }
            }
            if failures > 1 {
                return;
            }
        }
    }
}

async fn settle_all(core: &Core, batch: &mut [Conclusion]) -> Result<(), BoxError> {
    let asked = ask(core, Which::Given, batch);
    let asked = patient(core, Which::Given, batch, asked);
    match core.timed(Which::Given, OutboxCall::Settle, asked).await {
        Ok(settled) => {
            note(core, Which::Given, batch, &Ok(settled));
            Ok(())
        }
        Err(error) => {
            report_all(core, batch);
            Err(error)
        }
    }
}

fn ask(core: &Core, which: Which, batch: &[Conclusion]) -> OutboxFuture<Vec<SettleOutcome>> {
    let settlements = batch.iter().map(|conclusion| &conclusion.settlement);
    Arc::clone(&core.store(which).outbox).settle(settlements.cloned().collect())
}

fn report_all(core: &Core, batch: &mut [Conclusion]) {
    for conclusion in batch {
        conclusion.report(&core.events);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let mut hub = self.core.hub();
        hub.orphans.append(&mut self.batch);
        hub.orphans.extend(self.late.drain(..));
        hub.orphans.extend(self.link.conclusions.abandon());
        let keepers = hub.other_keepers(None);
        drop(hub);
        wake(keepers);
    }
}

/// Waits for an outbox, and says when that takes too long.
async fn patient(
    core: &Core,
    which: Which,
    batch: &mut [Conclusion],
    asked: OutboxFuture<Vec<SettleOutcome>>,
) -> Result<Vec<SettleOutcome>, BoxError> {
    let mut asked = pin!(asked);
    if let Ok(answer) = timeout(PATIENCE, asked.as_mut()).await {
        return answer;
    }
    tracing::error!("the outbox takes long to note how attempts ended: nothing new is fetched");
    let _stuck = StuckCall::begin(core, which);
    let runtimes = core.hub().other_keepers(None);
    report_all(core, batch);
    // Those that wait behind it as well; whoever comes later is reported at once.
    for link in runtimes {
        let mut ends = link
            .conclusions
            .map_waiting(|conclusion| conclusion.end.take());
        ends.drain(..)
            .flatten()
            .for_each(|end| end.report(&core.events));
    }
    asked.await
}

/// A call that the outbox has not answered for long, for as long as somebody waits for it: where the runtime
/// ends first, another one asks anew.
struct StuckCall<'c> {
    core: &'c Core,
    which: Which,
}

impl<'c> StuckCall<'c> {
    fn begin(core: &'c Core, which: Which) -> Self {
        core.hub().store(which).begin_stuck_call();
        Self { core, which }
    }
}

impl Drop for StuckCall<'_> {
    fn drop(&mut self) {
        let Self { core, which } = *self;
        let mut hub = core.hub();
        hub.store(which).end_stuck_call();
        core.fetch_soon(hub, which, Instant::now());
    }
}

/// The outbox has noted these, or an outbox in memory has failed to.
fn note(
    core: &Core,
    which: Which,
    batch: &mut [Conclusion],
    answer: &Result<Vec<SettleOutcome>, BoxError>,
) {
    match answer {
        Ok(settled) => {
            let mut lost = 0;
            for (conclusion, outcome) in batch.iter_mut().zip(settled) {
                if *outcome == SettleOutcome::LeaseLost {
                    conclusion.goes_on_elsewhere();
                    lost += 1;
                }
            }
            if lost > 0 {
                tracing::warn!(lost, "leases were lost: others deliver these once more");
            }
        }
        Err(error) => tracing::error!(%error, "the outbox did not note how an attempt ended"),
    }
    report_all(core, batch);
    let delays = batch
        .iter()
        .filter_map(|conclusion| match conclusion.settlement.verdict {
            Verdict::AgainIn(delay) | Verdict::PutOff(delay) => Some(delay),
            Verdict::Released => Some(Duration::ZERO),
            Verdict::Delivered | Verdict::Failed(_) | Verdict::Dead(_) | Verdict::Forgotten => None,
        });
    let soonest = delays.min();
    let leases = batch.iter().map(|conclusion| conclusion.settlement.lease);
    let mut hub = core.hub();
    let is_stopping = hub.stop != super::hub::Stop::No;
    let store = hub.store(which);
    store.unsettled -= batch.len();
    let mut wants_more = false;
    for lease in leases {
        wants_more |= store.let_go(lease);
    }
    let wanted_in = match wants_more {
        true => Some(Duration::ZERO),
        false => soonest,
    };
    match wanted_in {
        Some(delay) => {
            let at = crate::attempt::deadline(Instant::now(), delay);
            core.fetch_soon(hub, which, at);
        }
        None => drop(hub),
    }
    if is_stopping {
        core.has_ended_some.notify_waiters();
        let keepers = core.hub().other_keepers(None);
        wake(keepers);
    }
}

/// These leases are handed back.
pub(super) fn release(
    core: &Arc<Core>,
    link: &Arc<RuntimeLink>,
    which: Which,
    leases: impl IntoIterator<Item = Lease>,
) {
    for lease in leases {
        let released = Settlement::new(lease, Verdict::Released, None);
        settle(core, link, which, released.into());
    }
}
