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
    shards: [Mutex<HashMap<Arc<str>, usize>>; SHARDS],
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

    pub(crate) fn count(&self, host: &str) -> usize {
        self.shard(host).get(host).copied().unwrap_or(0)
    }

    /// Takes a place within the limit.
    pub(crate) fn try_take(&self, host: Arc<str>) -> Option<HostPlace> {
        self.take_below(host, self.inner.limit)
    }

    /// Takes a place, whatever the limit.
    pub(crate) fn take(&self, host: Arc<str>) -> HostPlace {
        self.take_below(host, usize::MAX)
            .expect("no host has usize::MAX things under way")
    }

    fn take_below(&self, host: Arc<str>, limit: usize) -> Option<HostPlace> {
        let mut shard = self.shard(&host);
        match shard.get_mut(&host) {
            Some(count) if *count < limit => *count += 1,
            None if limit > 0 => {
                shard.insert(Arc::clone(&host), 1);
            }
            _ => return None,
        }
        drop(shard);
        Some(HostPlace {
            counts: self.clone(),
            host,
        })
    }

    fn shard(&self, host: &str) -> MutexGuard<'_, HashMap<Arc<str>, usize>> {
        let at = self.inner.hasher.hash_one(host) as usize % SHARDS;
        // Every update is one statement: a panic elsewhere leaves no count half done.
        self.inner.shards[at]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HostPlace {
    fn drop(&mut self) {
        let mut shard = self.counts.shard(&self.host);
        if let Some(count) = shard.get_mut(&*self.host) {
            *count -= 1;
            if *count == 0 {
                shard.remove(&*self.host);
            }
        }
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
        assert!(counts.try_take(a.clone()).is_none() && counts.count("a") == 2);
        assert!(counts.try_take(b).is_some() && counts.count("b") == 0);
        drop(counts.take(a.clone()));
        drop(first);
        assert!(counts.try_take(a).is_some());
        drop(second);
        assert_eq!(known(&counts), 0);
    }

    #[test]
    fn a_limit_of_none_leaves_nothing_behind() {
        let counts = HostCounts::new(0);
        assert!(counts.try_take("a".into()).is_none());
        assert_eq!(known(&counts), 0);
    }
}
