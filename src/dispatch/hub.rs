use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    task::Waker,
    time::{Duration, SystemTime},
};

use foldhash::fast::RandomState;

use tokio::{
    runtime::{self, Handle},
    sync::Notify,
    task::AbortHandle,
    time::Instant,
};

use super::{
    begin::Beginning,
    group::Group,
    held::{Amount, StoreState},
    insert::Insertion,
    quarantine::Quarantine,
    scheduler::{AttemptEnd, Due, Scheduler, Source},
    settle::Conclusion,
    store::{Job, Which},
};
use crate::{attempt::deadline, delivery::Delivery, outbox::Want};

/// Everything that workers, keepers and handles share, behind one mutex. What is done under it is
/// short, and calls nobody: wakers, spawns and drops come after it.
pub(super) struct Hub {
    pub(super) scheduler: Scheduler<Job>,
    pub(super) given: StoreState,
    pub(super) fallback: StoreState,
    pub(super) quarantine: Quarantine,
    pub(super) runtimes: Vec<Runtime>,
    /// Attempts under way, by the numbers of their permits. A permit that is not here was taken away.
    under_way: HashMap<u64, UnderWay, RandomState>,
    last_permit: u64,
    /// All workers, to be cut off. `None` for one that is being started.
    pub(super) workers: HashMap<u64, Option<AbortHandle>>,
    next_worker: u64,
    pub(super) stop: Stop,
    /// Settlements of a runtime that has ended before the outbox noted them.
    pub(super) orphans: Vec<Conclusion>,
    pub(super) handles_are_gone: bool,
    /// The longest that an attempt in another runtime can take, unless nobody drives that one.
    longest_attempt: Duration,
}

/// How long an attempt is put off: for longer each time, between these.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// How a dispatcher is told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stop {
    /// Not at all.
    No,
    /// Once the attempts under way have ended.
    AfterAttempts,
    /// At once: attempts under way are cut off.
    Now,
}

/// A Tokio runtime in which this dispatcher was used, for as long as it lives.
pub(super) struct Runtime {
    pub(super) link: Arc<RuntimeLink>,
    /// Workers that wait for a job. The one that was busy last comes last, and is woken first: it
    /// is the likeliest to be in some cache still.
    pub(super) idle: Vec<Idle>,
    /// Workers that were started or woken, and have not asked for a job yet.
    pub(super) coming: usize,
    /// When its keeper wakes by itself.
    pub(super) keeper_wakes: Option<Instant>,
}

/// What is known of a runtime outside the mutex.
pub(super) struct RuntimeLink {
    pub(super) id: runtime::Id,
    pub(super) handle: Handle,
    /// Wakes its keeper.
    pub(super) keeper: Notify,
    pub(super) insertions: Group<Insertion>,
    pub(super) beginnings: Group<Beginning>,
    pub(super) conclusions: Group<Conclusion>,
}

pub(super) struct Idle {
    pub(super) worker: u64,
    pub(super) waker: Waker,
}

/// An attempt that a worker runs.
struct UnderWay {
    job: Job,
    runtime: runtime::Id,
    since: Instant,
}

/// What an outbox is to be asked for, and what may come of it.
pub(super) struct Question {
    pub(super) which: Which,
    pub(super) want: Want,
    pub(super) expected: Amount,
}

/// What is to be done once the mutex is free.
#[must_use]
pub(super) enum Bring {
    Nobody,
    Idle(Waker),
    New(u64, Arc<RuntimeLink>),
}

impl Hub {
    pub(super) fn new(
        scheduler: Scheduler<Job>,
        given: StoreState,
        fallback: StoreState,
        longest_attempt: Duration,
    ) -> Self {
        Self {
            scheduler,
            given,
            fallback,
            quarantine: Quarantine::default(),
            runtimes: Vec::new(),
            under_way: HashMap::default(),
            last_permit: 0,
            workers: HashMap::new(),
            next_worker: 0,
            stop: Stop::No,
            orphans: Vec::new(),
            handles_are_gone: false,
            longest_attempt,
        }
    }

    /// Whether nothing is asked of the outboxes any more that leases something or gives a lease back.
    pub(super) fn is_quiet(&self) -> bool {
        let stores = [&self.given, &self.fallback];
        let is_quiet = |store: &&StoreState| store.unsettled == 0 && !store.is_being_asked();
        stores.iter().all(is_quiet)
    }

    pub(super) fn store(&mut self, which: Which) -> &mut StoreState {
        match which {
            Which::Given => &mut self.given,
            Which::Fallback => &mut self.fallback,
        }
    }

    /// What to ask the outboxes for now, in this runtime.
    pub(super) fn begin_fetches(&mut self, id: runtime::Id, now: Instant) -> Vec<Question> {
        let stores = [
            (Which::Given, &mut self.given),
            (Which::Fallback, &mut self.fallback),
        ];
        let scheduler = &self.scheduler;
        let questions = stores.into_iter().filter_map(|(which, store)| {
            let (want, expected) = store.begin_fetch(scheduler, id, now)?;
            Some(Question {
                which,
                want,
                expected,
            })
        });
        questions.collect()
    }

    pub(super) fn runtime(&mut self, id: runtime::Id) -> Option<&mut Runtime> {
        self.runtimes
            .iter_mut()
            .find(|runtime| runtime.link.id == id)
    }

    /// The next attempt, for a worker of this runtime: the number of its permit, and what it is.
    pub(super) fn start(&mut self, id: runtime::Id, now: Instant) -> Option<(u64, Delivery, u32)> {
        if self.stop != Stop::No {
            return None;
        }
        let job = self.scheduler.start(now)?;
        self.last_permit += 1;
        let started = (self.last_permit, job.delivery.clone(), job.attempt);
        let under_way = UnderWay {
            job,
            runtime: id,
            since: now,
        };
        self.under_way.insert(self.last_permit, under_way);
        Some(started)
    }

    /// When what is attempted with this permit was accepted; `None` for just now.
    pub(super) fn accepted_at(&self, permit: u64) -> Option<SystemTime> {
        self.under_way.get(&permit)?.job.accepted_at
    }

    /// An attempt has ended. `None` when its permit was taken away: somebody else attempts it.
    pub(super) fn end(
        &mut self,
        permit: u64,
        ended: AttemptEnd,
        now: Instant,
    ) -> Option<(Job, u32)> {
        let UnderWay { job, .. } = self.under_way.remove(&permit)?;
        let failures = self.scheduler.end(job.host(), ended, now);
        Some((job, failures))
    }

    /// An attempt could not begin, as too many others wait for an answer of the same address: it is
    /// due again in a moment. `false` once it has been put off for as long as an attempt may take.
    pub(super) fn put_off(&mut self, permit: u64, now: Instant) -> bool {
        let Entry::Occupied(mut under_way) = self.under_way.entry(permit) else {
            return false;
        };
        let since = *under_way.get_mut().job.put_off_since.get_or_insert(now);
        let waited = now.saturating_duration_since(since);
        if waited >= self.longest_attempt {
            return false;
        }
        let UnderWay { job, .. } = under_way.remove();
        self.scheduler
            .put_off(job, now + waited.clamp(SHORTEST_WAIT, LONGEST_WAIT));
        true
    }

    /// The permit is given back, or taken away: what it was given for is due again.
    pub(super) fn cut_off(&mut self, permit: u64, now: Instant) {
        if let Some(UnderWay { job, .. }) = self.under_way.remove(&permit) {
            let host = job.host().clone();
            self.scheduler.arrive(job, Source::Outbox);
            self.scheduler.end(&host, AttemptEnd::CutOff, now);
        }
    }

    /// Takes the permits away of attempts in other runtimes that should have ended by themselves long
    /// ago: nobody drives those. Says when it is time to look again.
    pub(super) fn cut_off_overdue(&mut self, id: runtime::Id, now: Instant) -> Option<Instant> {
        let longest = self.longest_attempt;
        if self.runtimes.len() < 2 {
            return None;
        }
        let others = self.under_way.iter();
        let others = others.filter(|(_, under_way)| under_way.runtime != id);
        let ends = others.map(|(&permit, under_way)| (deadline(under_way.since, longest), permit));
        let ends: Vec<_> = ends.collect();
        for (_, permit) in ends.iter().filter(|(end, _)| *end <= now) {
            self.cut_off(*permit, now);
        }
        ends.into_iter()
            .map(|(end, _)| end)
            .filter(|end| *end > now)
            .min()
    }

    /// Has a worker of this runtime come, where there is something to start and none is coming. The
    /// worker brings the next one, so one is enough.
    pub(super) fn bring(&mut self, id: runtime::Id, now: Instant) -> Bring {
        if self.stop != Stop::No || !self.scheduler.can_start(now) {
            return Bring::Nobody;
        }
        let number = self.next_worker + 1;
        let Some(runtime) = self.runtime(id).filter(|runtime| runtime.coming == 0) else {
            return Bring::Nobody;
        };
        runtime.coming += 1;
        if let Some(Idle { waker, .. }) = runtime.idle.pop() {
            return Bring::Idle(waker);
        }
        let link = Arc::clone(&runtime.link);
        self.next_worker = number;
        self.workers.insert(number, None);
        Bring::New(number, link)
    }

    /// The keepers that would sleep for too long. Asked after each change that sets a time, and with
    /// the runtime in which an attempt has started just now.
    pub(super) fn keepers_to_wake(
        &mut self,
        started_in: Option<runtime::Id>,
        now: Instant,
    ) -> Vec<Arc<RuntimeLink>> {
        let renewals = [self.given.next_renewal(), self.fallback.next_renewal()];
        let renewals = renewals.into_iter().flatten().filter(|&at| at > now);
        let for_all = self.scheduler.next_wake(now).into_iter().chain(renewals);
        let for_all = for_all.min();
        let overdue = deadline(now, self.longest_attempt);
        let mut keepers = Vec::new();
        for runtime in &mut self.runtimes {
            let of_others = started_in.filter(|&id| id != runtime.link.id);
            let of_others = of_others.map(|_| overdue);
            let Some(at) = for_all.into_iter().chain(of_others).min() else {
                continue;
            };
            if runtime.keeper_wakes.is_none_or(|before| at < before) {
                runtime.keeper_wakes = Some(at);
                keepers.push(Arc::clone(&runtime.link));
            }
        }
        keepers
    }

    /// The keepers of all runtimes but this one.
    pub(super) fn other_keepers(&self, id: Option<runtime::Id>) -> Vec<Arc<RuntimeLink>> {
        let others = self.runtimes.iter().map(|runtime| &runtime.link);
        others.filter(|link| Some(link.id) != id).cloned().collect()
    }
}

impl RuntimeLink {
    pub(super) fn new(handle: Handle) -> Self {
        Self {
            id: handle.id(),
            handle,
            keeper: Notify::new(),
            insertions: Group::new(),
            beginnings: Group::new(),
            conclusions: Group::new(),
        }
    }
}

impl Runtime {
    pub(super) fn new(link: Arc<RuntimeLink>) -> Self {
        Self {
            link,
            idle: Vec::new(),
            coming: 0,
            keeper_wakes: None,
        }
    }
}
