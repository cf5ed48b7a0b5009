use crate::endpoint::{Host, HostMap};

/// What is known of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It answered its last attempt: it has its whole limit.
    Answering,
    /// Nothing: it was named by a call, and no attempt to it has begun.
    Untried,
    /// Its first attempts are under way. It has few permits.
    Fresh,
    /// Its last attempt failed, or an outbox has brought it and nothing else is known. It has few
    /// permits, of a smaller share.
    Doubtful,
}

impl Standing {
    pub(super) const NUMBER: usize = 4;

    pub(super) const ALL: [Self; Self::NUMBER] =
        [Self::Answering, Self::Untried, Self::Fresh, Self::Doubtful];

    pub(super) fn index(self) -> usize {
        self as usize
    }
}

/// What is known of hosts that have nothing due and nothing under way: a moment without attempts
/// makes no host a stranger.
///
/// It is bounded: of two generations the older one goes when the younger one is full.
pub(super) struct KnownHosts {
    younger: HostMap<Host, Known>,
    older: HostMap<Host, Known>,
}

/// How it stands, and its failures since its last answer.
pub(super) type Known = (Standing, u32);

const GENERATION: usize = 4_096;

impl KnownHosts {
    pub(super) fn new() -> Self {
        Self {
            younger: HostMap::default(),
            older: HostMap::default(),
        }
    }

    pub(super) fn get(&self, host: &Host) -> Option<Known> {
        let known = self.younger.get(host).or_else(|| self.older.get(host));
        known.copied()
    }

    pub(super) fn put(&mut self, host: Host, known: Known) {
        if self.younger.len() >= GENERATION {
            self.older = std::mem::take(&mut self.younger);
        }
        self.younger.insert(host, known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_hosts_are_known_and_no_more_than_two_generations() {
        let mut known = KnownHosts::new();
        let host = |number: usize| Host::from(&*number.to_string());
        for number in 0..10 * GENERATION {
            known.put(host(number), (Standing::Answering, 0));
        }
        for number in 9 * GENERATION..10 * GENERATION {
            assert!(known.get(&host(number)).is_some());
        }
        assert!(known.get(&host(0)).is_none());
        assert!(known.younger.len() + known.older.len() <= 2 * GENERATION);
    }
}
