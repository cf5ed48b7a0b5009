//! Which delivery is attempted next: every limit and all fairness, for every outbox.
//!
//! Pure and synchronous: no task, no I/O, no clock of its own. It is used behind one mutex.
//!
//! Hosts take turns. A host is *in turn* when something is due for it and it has a permit free; then
//! it has a number, its turn, and the lowest number is attempted first, after which the host lines
//! up again at the end. A host whose permits are all taken is *parked*: it is in no list, and lines
//! up when one of its attempts ends. So no step costs a look at all hosts.
//!
//! What a host may have depends on its [`Standing`]. Hosts that are not known to answer share at
//! most half of all permits, and those that do not answer, or that only an outbox has brought, half
//! of that: however many hosts stall, one that answers finds a permit. And of that half the last
//! quarter is a reserve, given out one permit at a time, in the time of an attempt, to the host that
//! was named last: however many hosts stall, a new one is soon tried.

mod limits;
mod line;
mod room;
mod standing;
#[cfg(test)]
mod tests;
mod turn;

use std::{
    collections::{VecDeque, hash_map::Entry},
    time::Duration,
};

use tokio::time::Instant;

pub(super) use self::limits::SchedulerLimits;
use self::{
    line::{Line, Place},
    standing::{KnownHosts, Standing},
};
use crate::endpoint::{Host, HostMap};

/// See the [module](self).
pub(super) struct Scheduler<J> {
    limits: SchedulerLimits,
    hosts: HostMap<Host, HostQueue<J>>,
    line: Line,
    /// Attempts under way: in all, and of hosts by standing.
    running: usize,
    running_by: [usize; Standing::NUMBER],
    /// What waits here and can go back, by its host's standing.
    waiting_by: [usize; Standing::NUMBER],
    known: KnownHosts,
    /// When the next permit of the reserve is given out.
    next_reserve: Option<Instant>,
    /// A host has few deliveries left of those that wait here.
    is_hungry: bool,
}

/// What can be scheduled.
pub(super) trait Due {
    fn host(&self) -> &Host;

    /// It can go back to an outbox that keeps it, to make room here.
    fn can_go_back(&self) -> bool;
}

/// Where a delivery comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// From a call, just now.
    Call,
    /// From an outbox, in which it may have waited for long.
    Outbox,
}

/// How an attempt ended, as far as its host's standing goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttemptEnd {
    /// The host answered, whatever it said.
    Answered,
    /// It did not.
    Failed,
    /// The attempt was cut off: it says nothing of the host.
    CutOff,
}

/// What is due for one host, and what it has under way.
struct HostQueue<J> {
    due: VecDeque<J>,
    /// How many of these can go back.
    returnable: usize,
    running: usize,
    standing: Standing,
    /// Failures since its last answer.
    failures: u32,
    place: Place,
}

/// A host that has failed so often in a row pauses between two attempts, for longer each time.
const FAILURES: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl<J: Due> Scheduler<J> {
    pub(super) fn new(limits: SchedulerLimits) -> Self {
        Self {
            limits,
            hosts: HostMap::default(),
            line: Line::default(),
            running: 0,
            running_by: [0; Standing::NUMBER],
            waiting_by: [0; Standing::NUMBER],
            known: KnownHosts::new(),
            next_reserve: None,
            is_hungry: false,
        }
    }

    /// This has come, and is due.
    pub(super) fn arrive(&mut self, job: J, source: Source) {
        let host = job.host().clone();
        let queue = match self.hosts.entry(host.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let known = self.known.get(&host);
                entry.insert(HostQueue::new(known.unwrap_or((Standing::Doubtful, 0))))
            }
        };
        let returnable = usize::from(job.can_go_back());
        queue.due.push_back(job);
        queue.returnable += returnable;
        self.waiting_by[queue.standing.index()] += returnable;
        // Somebody asks for it now: it is not the many hosts that an outbox may bring.
        if source == Source::Call && queue.standing == Standing::Doubtful && queue.failures == 0 {
            let standing = match queue.running {
                0 => Standing::Untried,
                _ => Standing::Fresh,
            };
            self.set_standing(&host, standing);
        }
        self.line_up(&host);
    }

    /// What is to be attempted next; its host has a permit less. `None` when nothing is due that has
    /// a permit.
    pub(super) fn start(&mut self, now: Instant) -> Option<J> {
        self.end_pauses(now);
        let next = self.next_turn(now)?;
        if next.is_of_reserve {
            self.next_reserve = Some(now + self.limits.reserve_time());
        }
        let place = Place::InTurn(next.turn);
        let host = self.line.leave(place, next.standing)?;
        let queue = self.hosts.get_mut(&host)?;
        queue.place = Place::Nowhere;
        let job = queue.due.pop_front()?;
        let returnable = usize::from(job.can_go_back());
        queue.returnable -= returnable;
        queue.running += 1;
        self.running += 1;
        self.running_by[next.standing.index()] += 1;
        self.waiting_by[next.standing.index()] -= returnable;
        self.is_hungry |= queue.due.len() == self.limits.target(next.standing) / 2;
        if next.standing == Standing::Untried {
            self.set_standing(&host, Standing::Fresh);
        }
        self.line_up(&host);
        Some(job)
    }

    /// An attempt to this host has ended: its permit is free. Says how often the host has failed
    /// since its last answer.
    pub(super) fn end(&mut self, host: &Host, ended: AttemptEnd, now: Instant) -> u32 {
        let Some(queue) = self.hosts.get_mut(host) else {
            return 0;
        };
        queue.running -= 1;
        self.running -= 1;
        self.running_by[queue.standing.index()] -= 1;
        let failures = match ended {
            AttemptEnd::Answered => 0,
            AttemptEnd::Failed => queue.failures.saturating_add(1),
            AttemptEnd::CutOff => queue.failures,
        };
        queue.failures = failures;
        match ended {
            AttemptEnd::Answered => self.set_standing(host, Standing::Answering),
            AttemptEnd::Failed => {
                self.set_standing(host, Standing::Doubtful);
                self.pause(host, now);
            }
            AttemptEnd::CutOff => {}
        }
        self.line_up(host);
        self.forget_if_idle(host);
        failures
    }

    /// An attempt could not begin for now: its permit is free, and its host pauses. The delivery stays
    /// the first of its host.
    pub(super) fn put_off(&mut self, job: J, until: Instant) {
        let host = job.host().clone();
        self.leave_line(&host);
        let Some(queue) = self.hosts.get_mut(&host) else {
            return;
        };
        let returnable = usize::from(job.can_go_back());
        queue.running -= 1;
        queue.returnable += returnable;
        queue.due.push_front(job);
        queue.place = self.line.pause(&host, until);
        self.running -= 1;
        self.running_by[queue.standing.index()] -= 1;
        self.waiting_by[queue.standing.index()] += returnable;
    }

    /// Takes those out for which this is so.
    pub(super) fn extract(&mut self, mut is_so: impl FnMut(&J) -> bool) -> Vec<J> {
        let mut taken = Vec::new();
        let hosts: Vec<Host> = self.hosts.keys().cloned().collect();
        for host in hosts {
            let Some(queue) = self.hosts.get_mut(&host) else {
                continue;
            };
            let due = std::mem::take(&mut queue.due).into_iter();
            let (out, stay) = due.partition::<Vec<_>, _>(&mut is_so);
            queue.due = stay.into();
            let returnable = out.iter().filter(|job| job.can_go_back()).count();
            queue.returnable -= returnable;
            self.waiting_by[queue.standing.index()] -= returnable;
            taken.extend(out);
            if queue.due.is_empty() {
                self.leave_line(&host);
                self.forget_if_idle(&host);
            }
        }
        taken
    }

    /// How many attempts are under way.
    #[cfg(any(test, feature = "metrics"))]
    pub(super) fn running(&self) -> usize {
        self.running
    }

    /// All that is due and waits for a permit.
    #[cfg(feature = "metrics")]
    pub(super) fn waiting(&self) -> impl Iterator<Item = &J> {
        self.hosts.values().flat_map(|queue| &queue.due)
    }

    fn line_up(&mut self, host: &Host) {
        let Some(queue) = self.hosts.get_mut(host) else {
            return;
        };
        let is_parked = queue.running >= self.limits.attempts_of(queue.standing);
        if queue.place == Place::Nowhere && !queue.due.is_empty() && !is_parked {
            queue.place = self.line.join(host, queue.standing);
        }
    }

    fn leave_line(&mut self, host: &Host) {
        let Some(queue) = self.hosts.get_mut(host) else {
            return;
        };
        let place = std::mem::replace(&mut queue.place, Place::Nowhere);
        self.line.leave(place, queue.standing);
    }

    /// The host keeps its turn.
    fn set_standing(&mut self, host: &Host, standing: Standing) {
        let Some(queue) = self.hosts.get_mut(host) else {
            return;
        };
        let before = std::mem::replace(&mut queue.standing, standing);
        if before == standing {
            return;
        }
        self.running_by[before.index()] -= queue.running;
        self.running_by[standing.index()] += queue.running;
        self.waiting_by[before.index()] -= queue.returnable;
        self.waiting_by[standing.index()] += queue.returnable;
        let is_parked = queue.running >= self.limits.attempts_of(standing);
        match queue.place {
            Place::InTurn(turn) if !is_parked => self.line.change_standing(turn, before, standing),
            // It has answered: there is nothing to wait for.
            Place::Paused(..) if standing != Standing::Answering => {}
            place => {
                self.line.leave(place, before);
                queue.place = Place::Nowhere;
            }
        }
        self.is_hungry |= standing == Standing::Answering;
    }

    fn pause(&mut self, host: &Host, now: Instant) {
        let Some(queue) = self.hosts.get(host) else {
            return;
        };
        if queue.failures <= FAILURES || queue.due.is_empty() {
            return;
        }
        let doublings = (queue.failures - FAILURES - 1).min(16);
        let pause = (FIRST_PAUSE * (1 << doublings)).min(LONGEST_PAUSE);
        self.leave_line(host);
        if let Some(queue) = self.hosts.get_mut(host) {
            queue.place = self.line.pause(host, now + pause);
        }
    }

    pub(super) fn end_pauses(&mut self, now: Instant) {
        while let Some(host) = self.line.end_pause(now) {
            if let Some(queue) = self.hosts.get_mut(&host) {
                queue.place = Place::Nowhere;
            }
            self.line_up(&host);
        }
    }

    /// What is known of it is remembered elsewhere, for a while.
    fn forget_if_idle(&mut self, host: &Host) {
        if let Entry::Occupied(entry) = self.hosts.entry(host.clone())
            && entry.get().running == 0
            && entry.get().due.is_empty()
        {
            let (host, queue) = entry.remove_entry();
            // Of the others nothing is known yet.
            if matches!(queue.standing, Standing::Answering | Standing::Doubtful) {
                self.known.put(host, (queue.standing, queue.failures));
            }
        }
    }
}

impl<J> HostQueue<J> {
    fn new((standing, failures): (Standing, u32)) -> Self {
        Self {
            due: VecDeque::new(),
            returnable: 0,
            running: 0,
            standing,
            failures,
            place: Place::Nowhere,
        }
    }
}
