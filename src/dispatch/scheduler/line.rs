//! The hosts in turn, and those that pause.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::standing::Standing;
use crate::endpoint::Host;

/// Every host is in it once at most; its [`Place`] says where.
#[derive(Default)]
pub(super) struct Line {
    /// The hosts in turn, by standing, each with its number.
    turns: [BTreeMap<u64, Host>; Standing::NUMBER],
    /// Hosts that fail again and again, until they are tried again.
    paused: BTreeMap<(Instant, u64), Host>,
    last_number: u64,
}

/// Where a host is.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Place {
    /// Nothing is due, or the host is parked.
    Nowhere,
    InTurn(u64),
    Paused(Instant, u64),
}

impl Line {
    /// At the end of its standing.
    pub(super) fn join(&mut self, host: &Host, standing: Standing) -> Place {
        let turn = self.next_number();
        self.turns[standing.index()].insert(turn, host.clone());
        Place::InTurn(turn)
    }

    pub(super) fn pause(&mut self, host: &Host, until: Instant) -> Place {
        let number = self.next_number();
        self.paused.insert((until, number), host.clone());
        Place::Paused(until, number)
    }

    pub(super) fn leave(&mut self, place: Place, standing: Standing) -> Option<Host> {
        match place {
            Place::Nowhere => None,
            Place::InTurn(turn) => self.turns[standing.index()].remove(&turn),
            Place::Paused(until, number) => self.paused.remove(&(until, number)),
        }
    }

    /// It keeps its turn.
    pub(super) fn change_standing(&mut self, turn: u64, before: Standing, after: Standing) {
        if let Some(host) = self.turns[before.index()].remove(&turn) {
            self.turns[after.index()].insert(turn, host);
        }
    }

    /// Of one standing the turns of whoever waits the longest, and of whoever came last.
    pub(super) fn ends(&self, standing: Standing) -> Option<(u64, u64)> {
        let turns = &self.turns[standing.index()];
        let (&longest, _) = turns.first_key_value()?;
        let (&latest, _) = turns.last_key_value()?;
        Some((longest, latest))
    }

    /// When the first pause ends.
    pub(super) fn first_pause(&self) -> Option<Instant> {
        self.paused.first_key_value().map(|(&(until, _), _)| until)
    }

    /// A host whose pause is over.
    pub(super) fn end_pause(&mut self, now: Instant) -> Option<Host> {
        let first = self.paused.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }
}

#[cfg(test)]
impl Line {
    pub(super) fn host_at(&self, place: Place, standing: Standing) -> Option<&Host> {
        match place {
            Place::Nowhere => None,
            Place::InTurn(turn) => self.turns[standing.index()].get(&turn),
            Place::Paused(until, number) => self.paused.get(&(until, number)),
        }
    }

    pub(super) fn in_turn(&self) -> usize {
        self.turns.iter().map(BTreeMap::len).sum()
    }

    pub(super) fn paused(&self) -> usize {
        self.paused.len()
    }
}
