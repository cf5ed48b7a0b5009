use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

const SHARDS: usize = 16;

/// How many things each host has under way, with a limit that is the same for all.
///
/// Only hosts with something under way take memory. Cheap to clone; clones count together.
#[derive(Clone)]
pub(crate) struct HostCounts {
    inner: Arc<Inner>,
}

struct Inner {
    limit: usize,
    hasher: RandomState,
    shards: [Mutex<Hosts>; SHARDS],
}

type Hosts = HashMap<Arc<str>, Count>;

/// Of one host.
#[derive(Clone, Copy, Default)]
struct Count {
    taken: usize,
    /// Since nothing was under way the last time.
    answers: usize,
    /// Somebody is to hear of the next place that is given back.
    wanted: bool,
}

/// One of a host's places; given back when dropped.
pub(crate) struct HostPlace {
    counts: HostCounts,
    host: Arc<str>,
}

impl HostCounts {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            inner: Arc::new(Inner {
                limit,
                hasher: RandomState::new(),
                shards: std::array::from_fn(|_| Mutex::default()),
            }),
        }
    }

    pub(crate) fn limit(&self) -> usize {
        self.inner.limit
    }

    /// How many a host has under way, and how many of them it has answered since it had none.
    pub(crate) fn count(&self, host: &str) -> (usize, usize) {
        let count = self.shard(host).get(host).copied().unwrap_or_default();
        (count.taken, count.answers)
    }

    /// Takes a place within the limit.
    pub(crate) fn try_take(&self, host: Arc<str>) -> Option<HostPlace> {
        let taken = self.take_below(&host, self.inner.limit);
        taken.then(|| HostPlace {
            counts: self.clone(),
            host,
        })
    }

    /// Takes a place, whatever the limit, to be [given back](Self::give_back) by hand.
    pub(crate) fn take(&self, host: &Arc<str>) {
        self.take_below(host, usize::MAX);
    }

    /// Gives back a place; `answered` counts it as an answer of the host. Whether it was wanted.
    pub(crate) fn give_back(&self, host: &str, answered: bool) -> bool {
        let mut shard = self.shard(host);
        let Some(count) = shard.get_mut(host) else {
            return false;
        };
        count.taken -= 1;
        count.answers += usize::from(answered);
        let wanted = std::mem::take(&mut count.wanted);
        if count.taken == 0 {
            shard.remove(host);
        }
        wanted
    }

    /// Has the next place that this host gives back be wanted, if it has one.
    pub(crate) fn want(&self, host: &str) {
        if let Some(count) = self.shard(host).get_mut(host) {
            count.wanted = true;
        }
    }

    fn take_below(&self, host: &Arc<str>, limit: usize) -> bool {
        let mut shard = self.shard(host);
        match shard.get_mut(host) {
            Some(count) if count.taken < limit => count.taken += 1,
            None if limit > 0 => {
                let first = Count {
                    taken: 1,
                    ..Count::default()
                };
                shard.insert(Arc::clone(host), first);
            }
            _ => return false,
        }
        true
    }

    fn shard(&self, host: &str) -> MutexGuard<'_, Hosts> {
        let at = self.inner.hasher.hash_one(host) as usize % SHARDS;
        // Every update is one statement: a panic elsewhere leaves no count half done.
        self.inner.shards[at]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HostPlace {
    fn drop(&mut self) {
        self.counts.give_back(&self.host, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(counts: &HostCounts) -> usize {
        let shards = counts.inner.shards.iter();
        shards.map(|shard| shard.lock().unwrap().len()).sum()
    }

    #[test]
    fn each_host_has_its_own_places() {
        let counts = HostCounts::new(2);
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let first = counts.try_take(a.clone()).unwrap();
        let second = counts.try_take(a.clone()).unwrap();
        assert!(counts.try_take(a.clone()).is_none() && counts.count("a") == (2, 0));
        assert!(counts.try_take(b).is_some() && counts.count("b") == (0, 0));
        counts.take(&a);
        counts.give_back(&a, false);
        drop(first);
        assert!(counts.try_take(a).is_some());
        drop(second);
        assert_eq!(known(&counts), 0);
    }

    #[test]
    fn answers_count_for_as_long_as_something_is_under_way() {
        let counts = HostCounts::new(9);
        let a: Arc<str> = "a".into();
        counts.take(&a);
        counts.take(&a);
        counts.give_back(&a, true);
        assert_eq!(counts.count("a"), (1, 1));
        counts.give_back(&a, true);
        assert_eq!(counts.count("a"), (0, 0));
    }

    #[test]
    fn a_place_is_wanted_once() {
        let counts = HostCounts::new(9);
        let a: Arc<str> = "a".into();
        counts.want("a");
        for _ in 0..3 {
            counts.take(&a);
        }
        assert!(!counts.give_back("a", false), "there was none to want");
        counts.want("a");
        assert!(counts.give_back("a", false));
        assert!(!counts.give_back("a", false));
        assert_eq!(known(&counts), 0);
    }

    #[test]
    fn a_limit_of_none_leaves_nothing_behind() {
        let counts = HostCounts::new(0);
        assert!(counts.try_take("a".into()).is_none());
        assert_eq!(known(&counts), 0);
    }
}
