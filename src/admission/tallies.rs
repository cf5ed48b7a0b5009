use std::sync::{Arc, Mutex};

use super::share::Tally;
use crate::{
    endpoint::{Host, HostMap},
    sync::lock,
};

/// What each of many has taken (hosts, or callers), as long as somebody holds it, and of some that
/// have nothing: most are back soon.
pub(super) struct Tallies {
    shards: [Mutex<Shard>; SHARDS],
}

const SHARDS: usize = 16;

/// What one of them has taken: as long as somebody has this, everybody has the same.
#[derive(Clone, Default)]
pub(crate) struct SharedTally(pub(super) Arc<Tally>);

struct Shard {
    taken: HostMap<Host, SharedTally>,
    /// At so many those are forgotten that have nothing.
    full_at: usize,
}

/// A shard that has no more is not looked through.
const FEW: usize = 64;

impl Tallies {
    pub(super) fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::new(Shard::new())),
        }
    }

    /// A caller is named as a host is.
    pub(super) fn of(&self, host: &Host) -> SharedTally {
        // Other bits than those by which the map looks.
        let at = (host.hash_value() >> 32) as usize % SHARDS;
        lock(&self.shards[at]).of(host)
    }

    /// Those that are known.
    #[cfg(test)]
    pub(super) fn known(&self) -> usize {
        let shards = self.shards.iter();
        shards.map(|shard| lock(shard).taken.len()).sum()
    }
}

impl Shard {
    fn new() -> Self {
        Self {
            taken: HostMap::default(),
            full_at: FEW,
        }
    }

    fn of(&mut self, host: &Host) -> SharedTally {
        if let Some(taken) = self.taken.get(host) {
            return taken.clone();
        }
        if self.taken.len() >= self.full_at {
            // Nobody gets hold of one while the shard is locked.
            self.taken
                .retain(|_, SharedTally(taken)| Arc::strong_count(taken) > 1);
            self.full_at = FEW.max(2 * self.taken.len());
        }
        let taken = SharedTally::default();
        self.taken.insert(host.clone(), taken.clone());
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_known_while_somebody_holds_what_it_has() {
        let hosts = Tallies::new();
        let held = hosts.of(&"a".into());
        for number in 0..100 * SHARDS * FEW {
            hosts.of(&Host::from(&*number.to_string()));
        }
        assert!(hosts.known() <= SHARDS * FEW);
        assert!(Arc::ptr_eq(&held.0, &hosts.of(&"a".into()).0));
    }

    #[test]
    fn as_many_are_known_as_are_held() {
        let hosts = Tallies::new();
        let names = (0..10 * SHARDS * FEW).map(|number| Host::from(&*number.to_string()));
        let held: Vec<_> = names.map(|host| hosts.of(&host)).collect();
        assert_eq!(hosts.known(), held.len());
    }
}
