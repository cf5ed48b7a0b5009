use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    time::{Duration, SystemTime},
};

use foldhash::fast::RandomState;
use tokio::time::Instant;

use super::super::{
    AttemptRecord, DeliveryFilter, DeliveryRecord, DeliveryState, DueDeliveries, Lease,
    LeasedDelivery, NewDelivery, Page, SettleOutcome, Settlement, StoredDelivery, Verdict, Want,
};
use crate::{delivery::Payload, endpoint::Host, error::BoxError, id::DeliveryId};

/// The deliveries of this process. Every call is a small change under one lock.
pub(super) struct Rows {
    by_id: HashMap<DeliveryId, Row, RandomState>,
    /// Those that wait, the longest due first.
    waiting: BTreeSet<(Instant, DeliveryId)>,
    /// Dead letters, the oldest first. A few may have been redelivered since.
    dead: VecDeque<DeliveryId>,
    number_dead: usize,
    bytes_dead: usize,
    pub(super) dead_letter_limits: DeadLetterLimits,
    tokens: u64,
    is_closed: bool,
}

pub(super) struct DeadLetterLimits {
    pub(super) number: usize,
    pub(super) bytes: usize,
    pub(super) time: Duration,
}

struct Row {
    stored: StoredDelivery,
    attempt: u32,
    attempts: Vec<AttemptRecord>,
    state: State,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Leased(u64),
    Waiting(Instant),
    Dead(SystemTime),
}

impl Rows {
    pub(super) fn new(dead_letter_limits: DeadLetterLimits) -> Self {
        Self {
            by_id: HashMap::default(),
            waiting: BTreeSet::new(),
            dead: VecDeque::new(),
            number_dead: 0,
            bytes_dead: 0,
            dead_letter_limits,
            tokens: 0,
            is_closed: false,
        }
    }

    pub(super) fn insert(&mut self, new: NewDelivery, now: Instant) -> Option<Lease> {
        let id = new.stored.id;
        let is_new = !self.by_id.contains_key(&id);
        if is_new {
            let row = Row {
                stored: new.stored,
                attempt: 1,
                attempts: Vec::new(),
                state: State::Waiting(now),
            };
            self.by_id.insert(id, row);
        }
        let is_alive = self.by_id.get(&id).and_then(Row::died_at).is_none();
        if new.lease && is_alive {
            return Some(self.lease(id));
        }
        if is_new {
            self.waiting.insert((now, id));
        }
        None
    }

    fn lease(&mut self, id: DeliveryId) -> Lease {
        self.tokens += 1;
        if let Some(row) = self.by_id.get_mut(&id) {
            if let State::Waiting(due) = row.state {
                self.waiting.remove(&(due, id));
            }
            row.state = State::Leased(self.tokens);
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
        let now = Instant::now();
        let Some(row) = self.by_id.get_mut(&id) else {
            return SettleOutcome::LeaseLost;
        };
        if verdict != Verdict::Delivered {
            row.attempts.extend(*record);
        }
        match verdict {
            Verdict::Delivered => drop(self.by_id.remove(&id)),
            Verdict::AgainIn(delay) => {
                row.attempt += 1;
                self.wait(id, now + delay.min(LONGEST));
            }
            Verdict::Released => self.wait(id, now),
            Verdict::Dead(_) => {
                let now = SystemTime::now();
                row.state = State::Dead(now);
                self.number_dead += 1;
                self.bytes_dead += row.stored.kept_len();
                self.dead.push_back(id);
                self.drop_dead_letters(now);
            }
        }
        SettleOutcome::Done
    }

    fn wait(&mut self, id: DeliveryId, due: Instant) {
        if let Some(row) = self.by_id.get_mut(&id) {
            row.state = State::Waiting(due);
            self.waiting.insert((due, id));
        }
    }

    /// Drops the oldest while there are too many, and those that have been kept for long enough.
    fn drop_dead_letters(&mut self, now: SystemTime) {
        while let Some(&id) = self.dead.front() {
            let died_at = self.by_id.get(&id).and_then(Row::died_at);
            let limits = &self.dead_letter_limits;
            let is_due = died_at.is_none_or(|died_at| {
                self.number_dead > limits.number
                    || self.bytes_dead > limits.bytes
                    || now.duration_since(died_at).unwrap_or_default() > limits.time
            });
            if !is_due {
                return;
            }
            self.dead.pop_front();
            if died_at.is_some() {
                self.count_out(id);
                self.by_id.remove(&id);
            }
        }
    }

    /// It is a dead letter no more.
    fn count_out(&mut self, id: DeliveryId) {
        if let Some(row) = self.by_id.get(&id) {
            self.number_dead -= 1;
            self.bytes_dead -= row.stored.kept_len();
        }
    }

    pub(super) fn list(
        &mut self,
        filter: &DeliveryFilter,
        page: Page,
        now: SystemTime,
    ) -> Vec<DeliveryRecord> {
        self.drop_dead_letters(now);
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
        Some(self.by_id.get(&id)?.stored.payload.clone())
    }

    pub(super) fn redeliver(
        &mut self,
        filter: &DeliveryFilter,
        now: Instant,
    ) -> Result<usize, BoxError> {
        let dead = filter.clone().with_state(DeliveryState::Dead);
        let chosen = self.list(&dead, Page::first(usize::MAX), SystemTime::now());
        if self.is_closed && !chosen.is_empty() {
            return Err("the memory outbox has been closed".into());
        }
        for record in &chosen {
            self.count_out(record.id);
            self.wait(record.id, now);
            if let Some(row) = self.by_id.get_mut(&record.id) {
                row.attempt = 1;
            }
        }
        self.dead
            .retain(|id| self.by_id.get(id).and_then(Row::died_at).is_some());
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

    /// Dead letters stay, to be looked at.
    pub(super) fn close(&mut self) -> Vec<StoredDelivery> {
        self.is_closed = true;
        self.waiting.clear();
        let is_alive = |_: &DeliveryId, row: &mut Row| row.died_at().is_none();
        let left = self.by_id.extract_if(is_alive);
        let mut left: Vec<_> = left.map(|(_, row)| row.stored).collect();
        left.sort_unstable_by_key(|stored| stored.id);
        left
    }
}

/// An `Instant` that is later than some clocks can tell cannot be made.
const LONGEST: Duration = Duration::from_secs(30 * 365 * 86_400);

impl Row {
    fn died_at(&self) -> Option<SystemTime> {
        match self.state {
            State::Dead(at) => Some(at),
            State::Leased(_) | State::Waiting(_) => None,
        }
    }

    fn record(&self) -> DeliveryRecord {
        let StoredDelivery {
            id,
            request_id,
            host,
            status,
            accepted_at,
            payload,
            ..
        } = &self.stored;
        let (request_id, host) = (request_id.clone(), host.clone());
        let mut record =
            DeliveryRecord::new(*id, request_id, host, *status, payload.len(), *accepted_at);
        if self.died_at().is_some() {
            record.state = DeliveryState::Dead;
        }
        record.attempts.clone_from(&self.attempts);
        record
    }
}
