use std::sync::PoisonError;

use crate::{
    endpoint::{Host, HostMap},
    sync::{Mutex, MutexGuard},
};

const SHARDS: usize = 16;

/// Something for each host that has something under way: only these take memory.
pub(crate) struct PerHost<V> {
    shards: [Mutex<HostMap<Host, V>>; SHARDS],
}

impl<V: Default + PartialEq> PerHost<V> {
    pub(crate) fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }

    /// What a host has; the default for one with nothing.
    pub(crate) fn get(&self, host: &Host) -> V
    where
        V: Copy,
    {
        self.shard(host).get(host).copied().unwrap_or_default()
    }

    /// Changes what a host has, or leaves it. With the default, it is forgotten.
    pub(crate) fn change<R>(&self, host: &Host, change: impl FnOnce(&mut V) -> R) -> R {
        let mut shard = self.shard(host);
        if let Some(value) = shard.get_mut(host) {
            let result = change(value);
            if *value == V::default() {
                shard.remove(host);
            }
            return result;
        }
        let mut value = V::default();
        let result = change(&mut value);
        if value != V::default() {
            shard.insert(host.clone(), value);
        }
        result
    }

    fn shard(&self, host: &Host) -> MutexGuard<'_, HostMap<Host, V>> {
        // Other bits than those by which the map looks.
        let at = (host.hash_value() >> 32) as usize % SHARDS;
        // Every change is a small one: a panic elsewhere leaves none half done.
        self.shards[at]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl<V> PerHost<V> {
    /// How many hosts are known.
    pub(crate) fn len(&self) -> usize {
        let shards = self.shards.iter();
        shards.map(|shard| shard.lock().unwrap().len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_known_for_as_long_as_it_has_something() {
        let hosts = PerHost::<u8>::new();
        let (a, b) = (Host::from("a"), Host::from("b"));
        hosts.change(&a, |_| ());
        assert_eq!(hosts.len(), 0);
        hosts.change(&a, |number| *number += 2);
        hosts.change(&Host::from("a"), |number| *number -= 1);
        assert_eq!((hosts.get(&a), hosts.get(&b), hosts.len()), (1, 0, 1));
        assert_eq!(hosts.change(&a, std::mem::take), 1);
        assert_eq!(hosts.len(), 0);
    }
}
