#[cfg(all(test, shuttle))]
mod model;

use std::sync::Arc;

use crate::{
    Host,
    per_host::{Amount, PerHost},
    sync::{
        Mutex, Notify,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        lock,
    },
};

/// The attempts that a host may have under way before it has answered any.
const UNANSWERED: usize = 4;

/// The lower half of [`Shared::claiming`], and what adds one to both.
const NUMBER_CLAIMING: usize = usize::MAX >> (usize::BITS / 2);
const A_CLAIM_BEGINS: usize = NUMBER_CLAIMING + 2;

/// The attempts that may be under way: in all, and for each endpoint host. Cheap to clone.
///
/// Whoever finds no room is told of the next place that could make some, and of no other: beside
/// receivers that stall, the others' attempts come and go without anybody looking at them all.
#[derive(Clone)]
pub(super) struct Places {
    shared: Arc<Shared>,
}

struct Shared {
    limit: usize,
    taken: AtomicUsize,
    per_host: usize,
    hosts: PerHost<Count>,
    /// A host had no room for want of places in all: any place makes a difference.
    any_is_wanted: AtomicBool,
    /// How many workers were told of any place, and have not looked yet who of all wants one.
    looking: AtomicUsize,
    /// How many workers are claiming, and in its upper half how often one has begun to.
    claiming: AtomicUsize,
    /// How many ears there are, to be seen without their lock.
    listeners: AtomicUsize,
    ears: Mutex<Vec<Arc<Ear>>>,
}

/// What a host has under way.
#[derive(Clone, Copy, Default, PartialEq)]
struct Count {
    taken: usize,
    /// Since nothing was under way the last time.
    answers: usize,
    /// Somebody is to hear of the next place that is given back.
    wanted: bool,
}

/// What there is for a host.
#[derive(Clone, Copy, PartialEq)]
enum Found {
    Places(usize),
    /// It has as many as it may.
    HostIsFull,
    /// There are too few in all for it to have more.
    FewInAll,
}

/// Hears of places that were wanted. There is one for each worker that shares the places, and all
/// hear of all: whoever wanted one is not told apart.
#[derive(Default)]
struct Ear {
    freed: Mutex<Freed>,
    is_freed: Notify,
}

/// A worker's ear, for as long as it listens.
pub(super) struct Listening {
    shared: Arc<Shared>,
    ear: Arc<Ear>,
    /// It has heard of any place, and not looked yet.
    is_looking: bool,
}

/// A worker looks for room and takes what it has found; for as long as this lives, places are its
/// alone.
pub(super) struct Claiming<'p>(&'p Shared);

/// Who may have room that had none.
#[derive(Default)]
pub(super) struct Freed {
    pub(super) any: bool,
    pub(super) hosts: Vec<Host>,
}

/// A place for one attempt.
pub(super) struct Place {
    shared: Arc<Shared>,
    host: Host,
    host_has_answered: bool,
}

impl Places {
    pub(super) fn new(limit: usize, per_host: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                limit,
                taken: AtomicUsize::new(0),
                per_host,
                hosts: PerHost::new(),
                any_is_wanted: AtomicBool::new(false),
                looking: AtomicUsize::new(0),
                claiming: AtomicUsize::new(0),
                listeners: AtomicUsize::new(0),
                ears: Mutex::default(),
            }),
        }
    }

    /// How many there are. Of none, [`Listening`] tells when that changes.
    pub(super) fn free(&self) -> usize {
        match self.count_free() {
            0 => {
                self.want_any();
                self.count_free()
            }
            free => free,
        }
    }

    /// How many there are for this host. Of none, [`Listening`] tells when that may have changed.
    pub(super) fn room(&self, host: &Host) -> usize {
        let mut found = self.look_for(host);
        loop {
            let is_wanted = match found {
                Found::Places(number) => return number,
                Found::HostIsFull => self.shared.hosts.change(host, Count::want),
                Found::FewInAll => {
                    self.want_any();
                    true
                }
            };
            // Again: a place may have been given back just before it was wanted. After the host's
            // last one none is wanted, and another worker may have taken some since.
            let again = self.look_for(host);
            if is_wanted && again == found {
                return 0;
            }
            found = again;
        }
    }

    /// A host may hold its own limit, and never more than half of what is free: however many
    /// hosts stall, the next one still finds a place. For the same reason it begins with a few,
    /// and has one more for each of its answers.
    fn look_for(&self, host: &Host) -> Found {
        self.found(self.shared.hosts.get(host))
    }

    fn found(&self, Count { taken, answers, .. }: Count) -> Found {
        let free = self.count_free();
        let limit = self.shared.per_host.min(UNANSWERED.saturating_add(answers));
        // The most whose last one still finds `taken + n - 1` below half of `free - n + 1`.
        let share = (free + 1).saturating_sub(2 * taken) / 3;
        let share = match taken {
            0 => share.max(free.min(1)),
            _ => share,
        };
        match (limit.saturating_sub(taken), share) {
            (0, _) => Found::HostIsFull,
            (_, 0) => Found::FewInAll,
            (own, share) => Found::Places(own.min(share)),
        }
    }

    fn count_free(&self) -> usize {
        let taken = self.shared.taken.load(Ordering::SeqCst);
        self.shared.limit.saturating_sub(taken)
    }

    fn want_any(&self) {
        self.shared.any_is_wanted.store(true, Ordering::SeqCst);
    }

    /// Has places be one worker's alone while it claims what to take them for.
    pub(super) fn claiming(&self) -> Claiming<'_> {
        self.shared
            .claiming
            .fetch_add(A_CLAIM_BEGINS, Ordering::SeqCst);
        Claiming(&self.shared)
    }

    /// Takes a place past the workers, if there is one that none of them wants or may be about to
    /// take. Nobody is told of the next.
    pub(super) fn try_take(&self, host: &Host) -> Option<Place> {
        let shared = &self.shared;
        let claiming = shared.claiming.load(Ordering::SeqCst);
        // In this order: one follows upon the other.
        if claiming & NUMBER_CLAIMING != 0
            || shared.any_is_wanted.load(Ordering::SeqCst)
            || shared.looking.load(Ordering::SeqCst) > 0
        {
            return None;
        }
        let is_taken = shared.hosts.change(host, |count| {
            let one_more = |taken| (taken < shared.limit).then_some(taken + 1);
            let has_room = matches!(self.found(*count), Found::Places(_))
                && shared
                    .taken
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more)
                    .is_ok();
            count.taken += usize::from(has_room);
            has_room
        });
        let place = is_taken.then(|| self.place(host.clone()))?;
        // A worker that has begun to claim meanwhile may have looked before this one was taken.
        (shared.claiming.load(Ordering::SeqCst) == claiming).then_some(place)
    }

    pub(super) fn take(&self, host: Host) -> Place {
        self.shared.taken.fetch_add(1, Ordering::SeqCst);
        self.shared.hosts.change(&host, |count| count.taken += 1);
        self.place(host)
    }

    fn place(&self, host: Host) -> Place {
        Place {
            shared: Arc::clone(&self.shared),
            host,
            host_has_answered: false,
        }
    }

    pub(super) fn listen(&self) -> Listening {
        let ear = Arc::<Ear>::default();
        lock(&self.shared.ears).push(Arc::clone(&ear));
        self.shared.listeners.fetch_add(1, Ordering::SeqCst);
        Listening {
            shared: Arc::clone(&self.shared),
            ear,
            is_looking: false,
        }
    }
}

impl Shared {
    fn tell(&self, host: Option<&Host>, any: bool) {
        for ear in lock(&self.ears).iter() {
            let mut freed = lock(&ear.freed);
            if any && !freed.any {
                freed.any = true;
                self.looking.fetch_add(1, Ordering::SeqCst);
            }
            freed.hosts.extend(host.cloned());
            drop(freed);
            ear.is_freed.notify_one();
        }
    }
}

impl Listening {
    /// Resolves when there is something to [`take`](Self::take).
    pub(super) async fn freed(&self) {
        self.ear.is_freed.notified().await;
    }

    /// Puts what it has heard since in the place of what it heard before.
    pub(super) fn take(&mut self, freed: &mut Freed) {
        freed.any = false;
        freed.hosts.clear();
        std::mem::swap(&mut *lock(&self.ear.freed), freed);
        if freed.any {
            self.has_looked();
            self.is_looking = true;
        }
    }

    /// All have been looked at who want any place: what is left is there for whoever comes.
    pub(super) fn has_looked(&mut self) {
        if std::mem::take(&mut self.is_looking) {
            self.shared.looking.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Drop for Claiming<'_> {
    fn drop(&mut self) {
        self.0.claiming.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        lock(&self.shared.ears).retain(|ear| !Arc::ptr_eq(ear, &self.ear));
        self.take(&mut Freed::default());
        self.has_looked();
        self.shared.listeners.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Place {
    pub(super) fn host_has_answered(&mut self) {
        self.host_has_answered = true;
    }

    /// Whether the host can keep it for its next attempt, without anybody looking at them all: it
    /// has just as many as it may ever have, so that an answer brings it no other one, no host waits
    /// for want of places in all, and no other worker for one of this host's.
    pub(super) fn is_the_hosts(&self) -> bool {
        let shared = &self.shared;
        let Count { taken, wanted, .. } = shared.hosts.get(&self.host);
        taken == shared.per_host
            && !shared.any_is_wanted.load(Ordering::SeqCst)
            && !(wanted && shared.listeners.load(Ordering::SeqCst) > 1)
    }
}

impl Amount for Count {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl Count {
    /// Says whether the place was wanted.
    fn give_back(&mut self, answered: bool) -> bool {
        self.taken -= 1;
        self.answers += usize::from(answered);
        let wanted = std::mem::take(&mut self.wanted);
        if self.taken == 0 {
            *self = Self::default();
        }
        wanted
    }

    /// The next place that is given back is wanted, if there is one. Says whether there is.
    fn want(&mut self) -> bool {
        self.wanted = self.taken > 0;
        self.wanted
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let shared = &self.shared;
        let host_is_wanted = shared
            .hosts
            .change(&self.host, |count| count.give_back(self.host_has_answered));
        shared.taken.fetch_sub(1, Ordering::SeqCst);
        // Most often none is: to see that costs less than to write it.
        let any_is_wanted = shared.any_is_wanted.load(Ordering::SeqCst);
        if any_is_wanted || host_is_wanted {
            // Until the workers are told, nobody comes before them.
            shared.looking.fetch_add(1, Ordering::SeqCst);
            let any_is_wanted = any_is_wanted && shared.any_is_wanted.swap(false, Ordering::SeqCst);
            shared.tell(host_is_wanted.then_some(&self.host), any_is_wanted);
            shared.looking.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests;
