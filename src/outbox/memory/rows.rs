use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    time::{Duration, SystemTime},
};

use foldhash::fast::RandomState;
use tokio::time::Instant;

use super::{
    super::{
        AttemptRecord, DeliveryFilter, DeliveryRecord, DeliveryState, DueDeliveries, Lease,
        LeasedDelivery, NewDelivery, Page, SettleOutcome, Settlement, StoredDelivery, Verdict,
        Want,
    },
    kept::{Kept, KeptLimits},
};
use crate::{
    delivery::Payload, endpoint::Host, error::BoxError, event::FailReason, id::DeliveryId,
};

/// The deliveries of this process. Every call is a small change under one lock.
pub(super) struct Rows {
    by_id: HashMap<DeliveryId, Row, RandomState>,
    /// Those that wait, the longest due first.
    waiting: BTreeSet<(Instant, DeliveryId)>,
    pub(super) dead: Kept,
    /// What the endpoint took, and runs that have failed.
    pub(super) history: Kept,
    pub(super) keeps_payloads: bool,
    tokens: u64,
    is_closed: bool,
}

struct Row {
    stored: StoredDelivery,
    /// Of a payload that is kept no more, too.
    payload_len: usize,
    attempt: u32,
    attempts: Vec<AttemptRecord>,
    state: State,
    /// Its call runs, and nobody has fetched it since that began.
    is_run: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Leased(u64),
    Waiting(Instant),
    Dead,
    /// It is history, with its payload or without it.
    Ended {
        has_payload: bool,
    },
}

impl Rows {
    pub(super) fn new(dead: KeptLimits, history: KeptLimits) -> Self {
        Self {
            by_id: HashMap::default(),
            waiting: BTreeSet::new(),
            dead: Kept::new(dead),
            history: Kept::new(history),
            keeps_payloads: false,
            tokens: 0,
            is_closed: false,
        }
    }

    pub(super) fn insert(&mut self, new: NewDelivery, now: Instant) -> Option<Lease> {
        let id = new.stored.id;
        // It takes the place of its run, and of the notice that this was interrupted, whatever has become
        // of that.
        let is_notice = |stored: &StoredDelivery| stored.failure == Some(FailReason::Interrupted);
        let makes_way = |row: &Row| row.is_run || is_notice(&row.stored) && !is_notice(&new.stored);
        if self.by_id.get(&id).is_some_and(makes_way) {
            self.forget(id);
        }
        let (is_new, is_due) = match self.by_id.entry(id) {
            Entry::Vacant(place) => {
                place.insert(Row::new(new.stored, now));
                (true, true)
            }
            Entry::Occupied(row) => (false, matches!(row.get().state, State::Waiting(_))),
        };
        if new.lease && is_due {
            return Some(self.lease(id));
        }
        if is_new {
            self.waiting.insert((now, id));
        }
        None
    }

    pub(super) fn begin(&mut self, run: NewDelivery, now: Instant) -> Option<Lease> {
        let id = run.stored.id;
        if self.is_closed || self.by_id.contains_key(&id) {
            return None;
        }
        let row = Row::new(run.stored, now);
        self.by_id.insert(id, row);
        let lease = self.lease(id);
        if let Some(row) = self.by_id.get_mut(&id) {
            row.is_run = true;
        }
        Some(lease)
    }

    fn forget(&mut self, id: DeliveryId) {
        let Some(row) = self.by_id.remove(&id) else {
            return;
        };
        match row.state {
            State::Waiting(due) => drop(self.waiting.remove(&(due, id))),
            State::Leased(_) => {}
            State::Dead => self.dead.retain(|other| other != id),
            State::Ended { .. } => self.history.retain(|other| other != id),
        }
    }

    fn lease(&mut self, id: DeliveryId) -> Lease {
        self.tokens += 1;
        if let Some(row) = self.by_id.get_mut(&id) {
            if let State::Waiting(due) = row.state {
                self.waiting.remove(&(due, id));
            }
            row.state = State::Leased(self.tokens);
            row.is_run = false;
        }
        Lease::new(id, self.tokens)
    }

    pub(super) fn holds(&self, lease: Lease) -> bool {
        let row = self.by_id.get(&lease.delivery);
        row.is_some_and(|row| row.state == State::Leased(lease.token))
    }

    pub(super) fn fetch(&mut self, want: &Want, now: Instant) -> DueDeliveries {
        let mut fetched = DueDeliveries::default();
        let mut chosen = Vec::new();
        let mut bytes = 0;
        let mut of_host = HashMap::<Host, usize>::new();
        for &(due, id) in &self.waiting {
            if due > now {
                fetched.next_due = Some(due - now);
                break;
            }
            if chosen.len() >= want.deliveries || bytes >= want.bytes {
                fetched.more = true;
                break;
            }
            let stored = &self.by_id[&id].stored;
            let of_this = of_host.entry(stored.host.clone()).or_default();
            if *of_this >= want.of(&stored.host) {
                fetched.more = true;
                continue;
            }
            *of_this += 1;
            bytes += stored.payload.len();
            chosen.push(id);
        }
        for id in chosen {
            let lease = self.lease(id);
            let row = &self.by_id[&id];
            let leased = LeasedDelivery::new(lease, row.attempt, row.stored.clone());
            fetched.deliveries.push(leased);
        }
        fetched
    }

    pub(super) fn oldest_due(&self, now: Instant) -> Option<Duration> {
        let &(due, _) = self.waiting.first()?;
        now.checked_duration_since(due)
    }

    pub(super) fn settle(&mut self, settlement: &Settlement) -> SettleOutcome {
        let Settlement {
            lease,
            verdict,
            record,
        } = settlement;
        let (lease, verdict) = (*lease, *verdict);
        let id = lease.delivery;
        if !self.holds(lease) {
            return SettleOutcome::LeaseLost;
        }
        let Some(row) = self.by_id.get_mut(&id) else {
            return SettleOutcome::LeaseLost;
        };
        if let Some(record) = record {
            // Most have one attempt.
            row.attempts.reserve_exact(1);
            row.attempts.push(*record);
        }
        match verdict {
            Verdict::Forgotten => self.forget(id),
            Verdict::Delivered => self.end(id, self.keeps_payloads),
            Verdict::Failed(reason) => {
                row.stored.failure = Some(reason);
                row.is_run = false;
                // It was never to be sent.
                self.end(id, false);
            }
            Verdict::AgainIn(delay) => {
                row.attempt += 1;
                self.wait(id, Instant::now() + delay.min(LONGEST));
            }
            Verdict::PutOff(delay) => self.wait(id, Instant::now() + delay.min(LONGEST)),
            Verdict::Released => self.wait(id, Instant::now()),
            Verdict::Dead(_) => {
                row.state = State::Dead;
                let now = SystemTime::now();
                self.dead.push(id, row.stored.kept_len(), now);
                self.drop_old(now);
            }
        }
        SettleOutcome::Done
    }

    /// It becomes history.
    fn end(&mut self, id: DeliveryId, has_payload: bool) {
        if self.history.limits.number == 0 {
            return self.forget(id);
        }
        let Some(row) = self.by_id.get_mut(&id) else {
            return;
        };
        row.state = State::Ended { has_payload };
        if !has_payload {
            row.stored.drop_payload();
        }
        let now = SystemTime::now();
        self.history.push(id, row.stored.kept_len(), now);
        self.drop_old(now);
    }

    fn wait(&mut self, id: DeliveryId, due: Instant) {
        if let Some(row) = self.by_id.get_mut(&id) {
            row.state = State::Waiting(due);
            self.waiting.insert((due, id));
        }
    }

    /// What has ended is kept within its bounds.
    fn drop_old(&mut self, now: SystemTime) {
        for kept in [&mut self.dead, &mut self.history] {
            while let Some(id) = kept.pop_due(now) {
                self.by_id.remove(&id);
            }
        }
    }

    pub(super) fn list(
        &mut self,
        filter: &DeliveryFilter,
        page: Page,
        now: SystemTime,
    ) -> Vec<DeliveryRecord> {
        self.drop_old(now);
        let is_on_page = |id: &DeliveryId| page.before().is_none_or(|before| *id < before);
        let mut found: Vec<_> = match filter.id() {
            Some(id) => self.by_id.get(&id).into_iter().collect(),
            None => self.by_id.values().collect(),
        };
        found.retain(|row| is_on_page(&row.stored.id));
        let mut records: Vec<_> = found.into_iter().map(Row::record).collect();
        records.retain(|record| filter.lets_through(record));
        records.sort_unstable_by_key(|record| std::cmp::Reverse(record.id));
        records.truncate(page.at_most());
        records
    }

    pub(super) fn payload(&self, id: DeliveryId) -> Option<Payload> {
        let row = self.by_id.get(&id)?;
        row.has_payload().then(|| row.stored.payload.clone())
    }

    pub(super) fn redeliver(
        &mut self,
        filter: &DeliveryFilter,
        now: Instant,
    ) -> Result<usize, BoxError> {
        // What was delivered is sent again only where that is what is asked for.
        let filter = match filter.state() {
            None => filter.clone().with_state(DeliveryState::Dead),
            Some(_) => filter.clone(),
        };
        let records = self.list(&filter, Page::first(usize::MAX), SystemTime::now());
        let ids = records.into_iter().map(|record| record.id);
        let has_ended = |row: &Row| !row.is_alive() && row.has_payload();
        let chosen: Vec<_> = ids
            .filter(|id| self.by_id.get(id).is_some_and(has_ended))
            .collect();
        if self.is_closed && !chosen.is_empty() {
            return Err("the memory outbox has been closed".into());
        }
        for &id in &chosen {
            self.wait(id, now);
            if let Some(row) = self.by_id.get_mut(&id) {
                row.attempt = 1;
            }
        }
        if !chosen.is_empty() {
            let by_id = &self.by_id;
            let has_ended = |id| by_id.get(&id).is_some_and(|row| !row.is_alive());
            self.dead.retain(has_ended);
            self.history.retain(has_ended);
        }
        Ok(chosen.len())
    }

    pub(super) fn cancel(&mut self, filter: &DeliveryFilter) -> usize {
        let waiting: Vec<_> = self.waiting.iter().copied().collect();
        let mut cancelled = 0;
        for (due, id) in waiting {
            if filter.lets_through(&self.by_id[&id].record()) {
                self.waiting.remove(&(due, id));
                self.by_id.remove(&id);
                cancelled += 1;
            }
        }
        cancelled
    }

    /// What has ended stays, to be looked at. A run is not lost with what is told of it: somebody else owes
    /// its end.
    pub(super) fn close(&mut self) -> Vec<StoredDelivery> {
        self.is_closed = true;
        self.waiting.clear();
        let is_alive = |_: &DeliveryId, row: &mut Row| row.is_alive();
        let left = self.by_id.extract_if(is_alive);
        let left = left.filter(|(_, row)| !row.is_run);
        let mut left: Vec<_> = left.map(|(_, row)| row.stored).collect();
        left.sort_unstable_by_key(|stored| stored.id);
        left
    }
}

/// An `Instant` that is later than some clocks can tell cannot be made.
const LONGEST: Duration = Duration::from_secs(30 * 365 * 86_400);

impl Row {
    /// It waits since now.
    fn new(stored: StoredDelivery, now: Instant) -> Self {
        Self {
            payload_len: stored.payload.len(),
            stored,
            attempt: 1,
            attempts: Vec::new(),
            state: State::Waiting(now),
            is_run: false,
        }
    }

    fn is_alive(&self) -> bool {
        matches!(self.state, State::Leased(_) | State::Waiting(_))
    }

    fn has_payload(&self) -> bool {
        self.state != State::Ended { has_payload: false }
    }

    fn record(&self) -> DeliveryRecord {
        let StoredDelivery {
            id,
            request_id,
            host,
            status,
            failure,
            accepted_at,
            envelope,
            ..
        } = &self.stored;
        let (request_id, host) = (request_id.clone(), host.clone());
        let len = self.payload_len;
        let record = DeliveryRecord::new(*id, request_id, host, *status, len, *accepted_at);
        let mut record = record.with_envelope(envelope.clone());
        record.failure = *failure;
        record.state = match self.state {
            State::Leased(_) if self.is_run => DeliveryState::Running,
            State::Leased(_) | State::Waiting(_) => DeliveryState::Waiting,
            State::Dead => DeliveryState::Dead,
            State::Ended { .. } => DeliveryState::of_ended(*failure),
        };
        // What its endpoint would be told is not so yet.
        if record.state == DeliveryState::Running {
            record.failure = None;
        }
        record.attempts.clone_from(&self.attempts);
        record
    }
}
