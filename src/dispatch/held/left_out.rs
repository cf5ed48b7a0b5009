use std::collections::HashSet;

use crate::endpoint::Host;

/// Hosts that answer, or are new, of which something was not leased at once for want of room. They are
/// asked for by name: where hosts that do not answer have all that they may, nothing is asked for of hosts
/// in general, and these would wait for as long as those.
#[derive(Default)]
pub(super) struct LeftOut {
    waiting: HashSet<Host>,
    /// Those that a fetch under way asks for: what was left out since is not for it.
    asked: HashSet<Host>,
}

/// So many are asked for by name at most.
const MOST: usize = 1_024;

impl LeftOut {
    pub(super) fn add(&mut self, host: &Host) {
        if self.waiting.len() + self.asked.len() < MOST {
            self.waiting.insert(host.clone());
        }
    }

    pub(super) fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.waiting.union(&self.asked)
    }

    pub(super) fn begin_asking(&mut self) {
        self.asked.extend(self.waiting.drain());
    }

    /// The fetch has brought less than it could: nothing of those that it asked for is left.
    pub(super) fn all_have_come(&mut self) {
        self.asked.clear();
    }
}
