use std::{collections::HashMap, mem};

use super::{
    choice::Memory,
    command::{ClaimId, Command, TakeBack},
};

/// What this process has claimed.
pub(super) struct Held {
    /// The length of each payload.
    pub(super) claims: HashMap<ClaimId, usize>,
    pub(super) bytes: usize,
    pub(super) most_bytes: usize,
    /// A claim request had to leave something for want of memory.
    pub(super) starved: bool,
    /// Kept too late to be told: taken back before anything else is done.
    pub(super) untold: Vec<TakeBack>,
    /// How deliveries ended that could not be written down yet. It is tried again with each
    /// tick; until then nothing is claimed, so that nothing is sent again and again.
    pub(super) owed: Vec<Command>,
}

impl Held {
    pub(super) fn new(most_bytes: usize) -> Self {
        Self {
            claims: HashMap::new(),
            bytes: 0,
            most_bytes,
            starved: false,
            untold: Vec::new(),
            owed: Vec::new(),
        }
    }

    /// What more payloads may take.
    pub(super) fn memory(&self) -> Memory {
        Memory {
            bytes: self.most_bytes.saturating_sub(self.bytes),
            first_may_exceed: self.claims.is_empty(),
        }
    }

    pub(super) fn insert(&mut self, claim: ClaimId, bytes: usize) {
        self.bytes += bytes;
        self.claims.insert(claim, bytes);
    }

    /// Says whether something waited for the memory that is free now.
    pub(super) fn remove(&mut self, claim: ClaimId) -> bool {
        if let Some(bytes) = self.claims.remove(&claim) {
            self.bytes -= bytes;
        }
        mem::take(&mut self.starved)
    }
}
