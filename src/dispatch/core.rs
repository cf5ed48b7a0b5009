use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::{
    runtime::{self, Handle},
    sync::{Notify, Semaphore},
    time::Instant,
};

use super::{
    away::Away,
    begin::MOST_FORGOTTEN,
    forward::FarOutbox,
    held::{HeldBounds, StoreState},
    hub::{Bring, Hub, Runtime, RuntimeLink, Stop},
    keeper::{self, Keeper},
    propagator::Propagation,
    retry::RetryPolicies,
    scheduler::{Scheduler, SchedulerLimits, Source},
    settle::settle,
    store::{Job, Store, Which},
    worker,
};
use crate::{
    admission::{Admission, Reservation, SharedTally},
    attempt::Post,
    error::BoxError,
    event::{Events, OutboxCall, Refusal},
    outbox::{Lease, MemoryOutbox, Settlement, Verdict},
    sync::lock,
};

/// What a dispatcher's handles, workers and keepers share.
pub(super) struct Core {
    hub: Mutex<Hub>,
    given: Store,
    fallback: Store,
    /// Where deliveries go on to, instead of being attempted.
    pub(super) far: Option<FarOutbox>,
    pub(super) post: Post,
    pub(super) retry: RetryPolicies,
    pub(super) propagation: Propagation,
    pub(super) events: Events,
    pub(super) admission: Arc<Admission>,
    pub(super) accept_timeout: Duration,
    /// What is accepted has to be durable, as far as can be known beforehand.
    requires_durability: bool,
    pub(super) away: Away,
    /// For runs of which nobody knows whether they are recorded.
    pub(super) room_to_forget: Arc<Semaphore>,
    /// Told when a worker ends, or settlements are noted, once the dispatcher is to stop.
    pub(super) has_ended_some: Notify,
}

pub(super) struct CoreSettings {
    pub(super) given: Store,
    pub(super) far: Option<FarOutbox>,
    pub(super) post: Post,
    pub(super) retry: RetryPolicies,
    pub(super) propagation: Propagation,
    pub(super) events: Events,
    pub(super) admission: Arc<Admission>,
    pub(super) accept_timeout: Duration,
    pub(super) requires_durability: bool,
    pub(super) makes_attempts: bool,
    pub(super) limits: SchedulerLimits,
    pub(super) payload_memory: usize,
}

/// So many deliveries of a durable outbox are in memory at least, whatever the limit on attempts.
const FEWEST_HELD: usize = 64;

/// So long after its time an attempt that has not ended is in a runtime that nobody drives.
const OVERDUE: Duration = Duration::from_secs(5);

impl Core {
    pub(super) fn new(settings: CoreSettings) -> Self {
        let CoreSettings {
            given,
            far,
            post,
            retry,
            propagation,
            events,
            admission,
            accept_timeout,
            requires_durability,
            makes_attempts,
            limits,
            payload_memory,
        } = settings;
        let fallback = Store::new(MemoryOutbox::new());
        let bounds = HeldBounds {
            deliveries: (2 * limits.attempts).max(FEWEST_HELD),
            bytes: payload_memory,
        };
        let mut of_given = StoreState::new(&given.limits, bounds);
        if !makes_attempts {
            of_given.leave_to_others();
        }
        let hub = Hub::new(
            Scheduler::new(limits),
            of_given,
            StoreState::new(&fallback.limits, bounds),
            limits.time.saturating_add(OVERDUE),
        );
        Self {
            hub: Mutex::new(hub),
            given,
            fallback,
            far,
            post,
            retry,
            propagation,
            events,
            admission,
            accept_timeout,
            requires_durability,
            away: Away::default(),
            room_to_forget: Arc::new(Semaphore::new(MOST_FORGOTTEN)),
            has_ended_some: Notify::new(),
        }
    }

    /// Takes a reservation for a webhook to a host, and of a caller where they are told apart.
    pub(super) fn reserve(
        &self,
        of_host: SharedTally,
        caller: Option<&str>,
    ) -> Result<Reservation, Refusal> {
        let reservation = self.admission.try_reserve(of_host, caller)?;
        if self.requires_durability && !self.away.lets_through(Instant::now()) {
            return Err(Refusal::OutboxAway);
        }
        Ok(reservation)
    }

    /// Times what a durable outbox is asked, where there are metrics.
    pub(super) async fn timed<T>(
        &self,
        which: Which,
        call: OutboxCall,
        asked: impl Future<Output = Result<T, BoxError>>,
    ) -> Result<T, BoxError> {
        let is_timed = self.store(which).limits.is_durable();
        let Some(metrics) = self.events.metrics().filter(|_| is_timed) else {
            return asked.await;
        };
        let began = Instant::now();
        let answer = asked.await;
        metrics.asked_outbox(call, began.elapsed(), answer.is_ok());
        answer
    }

    pub(super) fn hub(&self) -> MutexGuard<'_, Hub> {
        lock(&self.hub)
    }

    pub(super) fn store(&self, which: Which) -> &Store {
        match which {
            Which::Given => &self.given,
            Which::Fallback => &self.fallback,
        }
    }

    /// Whether what it keeps can be looked at.
    pub(super) fn can_list(&self) -> bool {
        self.given.limits.can_list
    }

    /// This runtime, which from now on has a keeper; outside of one, and in one that is ending, any that
    /// lives. `None` when there is none at all.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Arc<RuntimeLink>> {
        let Ok(handle) = Handle::try_current() else {
            return self.any_runtime();
        };
        let id = handle.id();
        let mut hub = self.hub();
        if let Some(runtime) = hub.runtime(id) {
            return Some(Arc::clone(&runtime.link));
        }
        let link = Arc::new(RuntimeLink::new(handle));
        hub.runtimes.push(Runtime::new(Arc::clone(&link)));
        let now = Instant::now();
        hub.given.fetch_at(now);
        drop(hub);
        let keeper = Keeper::new(Arc::clone(self), Arc::clone(&link));
        link.handle.spawn(keeper::run(keeper));
        let lives = self.hub().runtime(id).is_some();
        match lives {
            true => Some(link),
            false => self.any_runtime(),
        }
    }

    fn any_runtime(&self) -> Option<Arc<RuntimeLink>> {
        let hub = self.hub();
        let runtime = hub.runtimes.first()?;
        Some(Arc::clone(&runtime.link))
    }

    /// What an outbox has leased to this process is there to be attempted.
    pub(super) fn arrive(
        self: &Arc<Self>,
        link: &Arc<RuntimeLink>,
        jobs: impl IntoIterator<Item = Job>,
        source: Source,
    ) {
        let mut hub = self.hub();
        let now = Instant::now();
        for job in jobs {
            #[cfg(feature = "metrics")]
            let job = Job {
                due_since: Some(now),
                ..job
            };
            let bytes = job.delivery.kept_len();
            let store = hub.store(job.which);
            // It takes the place of its run.
            store.take_run(job.lease.delivery);
            store.hold(job.lease, bytes, now);
            hub.scheduler.arrive(job, source);
        }
        // A new host finds room, however many there are that do not answer.
        let mut evicted = Vec::new();
        while source == Source::Call
            && hub.given.has_too_many_unanswered(&hub.scheduler)
            && let Some(job) = hub.scheduler.evict()
        {
            evicted.push(job);
        }
        self.bring(hub, link.id, now);
        for job in evicted {
            let released = Settlement::new(job.lease, Verdict::Released, None);
            settle(self, link, job.which, released.into());
        }
    }

    /// Has somebody come for what there is to start: a worker of this runtime, and, as nobody can
    /// know whether that one is driven, the keepers of all others.
    pub(super) fn bring(
        self: &Arc<Self>,
        mut hub: MutexGuard<'_, Hub>,
        id: runtime::Id,
        now: Instant,
    ) {
        let bring = hub.bring(id, now);
        let mut keepers = hub.keepers_to_wake(None, now);
        if hub.scheduler.can_start(now) {
            keepers.extend(hub.other_keepers(Some(id)));
        }
        drop(hub);
        self.carry_out(bring);
        wake(keepers);
    }

    pub(super) fn carry_out(self: &Arc<Self>, bring: Bring) {
        match bring {
            Bring::Nobody => {}
            Bring::Idle(waker) => waker.wake(),
            Bring::New(number, link) => worker::spawn(self, number, &link),
        }
    }

    /// A lease has ended, or was lost.
    pub(super) fn let_go(&self, which: Which, leases: impl IntoIterator<Item = Lease>) {
        let mut hub = self.hub();
        let store = hub.store(which);
        let mut wants_more = false;
        for lease in leases {
            wants_more |= store.let_go(lease);
        }
        if wants_more {
            self.fetch_soon(hub, which, Instant::now());
        }
    }

    /// Has an outbox asked for what is due at that time.
    pub(super) fn fetch_soon(&self, mut hub: MutexGuard<'_, Hub>, which: Which, at: Instant) {
        let is_news = hub.store(which).fetch_at(at);
        let keepers = match is_news {
            true => hub.other_keepers(None),
            false => Vec::new(),
        };
        drop(hub);
        wake(keepers);
    }

    pub(super) fn stop(&self, stop: Stop) {
        let mut hub = self.hub();
        hub.stop = hub.stop.max(stop);
        let idle = hub.runtimes.iter_mut();
        let idle: Vec<_> = idle.flat_map(|runtime| runtime.idle.drain(..)).collect();
        let cut_off: Vec<_> = match stop {
            Stop::Now => hub.workers.values().flatten().cloned().collect(),
            Stop::No | Stop::AfterAttempts => Vec::new(),
        };
        let keepers = hub.other_keepers(None);
        drop(hub);
        for worker in idle {
            worker.waker.wake();
        }
        for worker in cut_off {
            worker.abort();
        }
        wake(keepers);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.hub().stop != Stop::No
    }

    /// Resolves once this is so; looked at again when a worker ends or something is settled.
    pub(super) async fn until(&self, mut is_so: impl FnMut(&Hub) -> bool) {
        loop {
            let ended = self.has_ended_some.notified();
            if is_so(&self.hub()) {
                return;
            }
            ended.await;
        }
    }
}

/// Has these keepers look at what there is to do.
pub(super) fn wake(keepers: Vec<Arc<RuntimeLink>>) {
    for link in keepers {
        link.keeper.notify_one();
    }
}
