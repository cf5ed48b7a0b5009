use crate::{
    endpoint::{Host, HostMap},
    sync::{Mutex, MutexGuard, lock},
};

const SHARDS: usize = 16;

/// In each shard so many hosts are not forgotten that have nothing any more: most are back soon.
const KEPT: usize = 64;

/// Something for each host that has something under way: only these, and some more, take memory.
pub(crate) struct PerHost<V> {
    shards: [Mutex<HostMap<Host, V>>; SHARDS],
}

/// What a host can have. A host that is not known has the default.
pub(crate) trait Amount: Default {
    /// Whether it is as good as the default.
    fn is_none(&self) -> bool;
}

impl<V: Amount> PerHost<V> {
    pub(crate) fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }

    /// What a host has.
    pub(crate) fn get(&self, host: &Host) -> V
    where
        V: Copy,
    {
        self.shard(host).get(host).copied().unwrap_or_default()
    }

    /// Changes what a host has, or leaves it.
    pub(crate) fn change<R>(&self, host: &Host, change: impl FnOnce(&mut V) -> R) -> R {
        let mut shard = self.shard(host);
        let known = shard.len();
        if let Some(value) = shard.get_mut(host) {
            let result = change(value);
            if value.is_none() {
                *value = V::default();
                if known > KEPT {
                    shard.remove(host);
                }
            }
            return result;
        }
        let mut value = V::default();
        let result = change(&mut value);
        if !value.is_none() {
            shard.insert(host.clone(), value);
        }
        result
    }

    /// The hosts that have something.
    pub(crate) fn hosts(&self) -> Vec<Host> {
        let mut hosts = Vec::new();
        for shard in &self.shards {
            let shard = lock(shard);
            let have_some = shard.iter().filter(|(_, value)| !value.is_none());
            hosts.extend(have_some.map(|(host, _)| host.clone()));
        }
        hosts
    }

    fn shard(&self, host: &Host) -> MutexGuard<'_, HostMap<Host, V>> {
        // Other bits than those by which the map looks.
        let at = (host.hash_value() >> 32) as usize % SHARDS;
        lock(&self.shards[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Amount for u8 {
        fn is_none(&self) -> bool {
            *self == 0
        }
    }

    fn known(hosts: &PerHost<u8>) -> usize {
        let shards = hosts.shards.iter();
        shards.map(|shard| lock(shard).len()).sum()
    }

    #[test]
    fn a_host_has_what_was_not_taken_again() {
        let hosts = PerHost::<u8>::new();
        let (a, b) = (Host::from("a"), Host::from("b"));
        hosts.change(&a, |_| ());
        assert_eq!((hosts.hosts(), known(&hosts)), (vec![], 0));
        hosts.change(&a, |number| *number += 2);
        hosts.change(&Host::from("a"), |number| *number -= 1);
        assert_eq!((hosts.get(&a), hosts.get(&b)), (1, 0));
        assert_eq!(hosts.hosts(), std::slice::from_ref(&a));
        assert_eq!(hosts.change(&a, std::mem::take), 1);
        assert_eq!(hosts.hosts(), []);
    }

    #[test]
    fn few_are_known_that_have_nothing() {
        let hosts = PerHost::<u8>::new();
        let names: Vec<_> = (0..10 * SHARDS * KEPT)
            .map(|name| Host::from(&*name.to_string()))
            .collect();
        for host in &names {
            hosts.change(host, |number| *number += 1);
        }
        assert_eq!(hosts.hosts().len(), names.len());
        for host in &names {
            hosts.change(host, |number| *number -= 1);
        }
        assert_eq!((hosts.hosts().len(), known(&hosts)), (0, SHARDS * KEPT));
    }
}
