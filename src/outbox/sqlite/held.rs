use std::{collections::HashMap, mem};

use super::{
    command::{ClaimId, Command, TakeBack},
    memory::{Memory, Share},
};

/// What this process has claimed.
pub(super) struct Held {
    pub(super) claims: HashMap<ClaimId, Share>,
    pub(super) memory: Memory,
    /// A claim request had to leave something for want of memory.
    pub(super) starved: bool,
    /// Kept too late to be told: taken back before anything else is done.
    pub(super) untold: Vec<TakeBack>,
    /// How deliveries ended that could not be written down yet. It is tried again with each
    /// tick; until then nothing is claimed, so that nothing is sent again and again.
    pub(super) owed: Vec<Command>,
}

impl Held {
    pub(super) fn new(payload_memory: usize) -> Self {
        Self {
            claims: HashMap::new(),
            memory: Memory::new(payload_memory),
            starved: false,
            untold: Vec::new(),
            owed: Vec::new(),
        }
    }

    pub(super) fn insert(&mut self, claim: ClaimId, share: Share) {
        self.memory.take(share);
        self.claims.insert(claim, share);
    }

    /// Says whether something waited for the memory that is free now.
    pub(super) fn remove(&mut self, claim: ClaimId) -> bool {
        if let Some(share) = self.claims.remove(&claim) {
            self.memory.give_back(share);
        }
        mem::take(&mut self.starved)
    }
}
