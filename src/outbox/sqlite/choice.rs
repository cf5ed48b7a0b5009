use std::collections::{HashMap, HashSet};

use rusqlite::{Row, Rows};

use super::command::ClaimRequest;

/// The most that one request claims: what is claimed ahead of time is nobody else's.
pub(super) const AT_MOST: usize = 256;

/// What one request is given.
pub(super) struct Choice<'r> {
    request: &'r ClaimRequest,
    pub(super) seqs: Vec<i64>,
    chosen: HashSet<i64>,
    of_hosts: HashMap<String, usize>,
    memory: Memory,
    bytes: usize,
    pub(super) starved: bool,
}

/// What the payloads of one request may take.
#[derive(Clone, Copy)]
pub(super) struct Memory {
    pub(super) bytes: usize,
    /// Nothing else is being delivered: then one is chosen however large it is.
    pub(super) first_may_exceed: bool,
}

impl<'r> Choice<'r> {
    pub(super) fn new(request: &'r ClaimRequest, memory: Memory) -> Self {
        Self {
            request,
            seqs: Vec::new(),
            chosen: HashSet::new(),
            of_hosts: HashMap::new(),
            memory,
            bytes: 0,
            starved: false,
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.seqs.len() < self.request.at_most.min(AT_MOST) && !self.starved
    }

    pub(super) fn room(&self, host: &str) -> usize {
        let request = self.request;
        let room = request.rooms.get(host).unwrap_or(&request.room_elsewhere);
        room.saturating_sub(self.of_hosts.get(host).copied().unwrap_or(0))
    }

    /// Says how many rows it has looked at.
    pub(super) fn go_through(&mut self, mut rows: Rows<'_>) -> rusqlite::Result<usize> {
        let mut looked_at = 0;
        while self.has_room()
            && let Some(row) = rows.next()?
        {
            looked_at += 1;
            self.consider(row)?;
        }
        Ok(looked_at)
    }

    fn consider(&mut self, row: &Row<'_>) -> rusqlite::Result<()> {
        let seq = row.get(0)?;
        let host = String::from_utf8_lossy(row.get_ref(1)?.as_bytes()?);
        if self.chosen.contains(&seq) || self.room(&host) == 0 {
            return Ok(());
        }
        let len = row.get_ref(2)?.as_i64().unwrap_or(0);
        let len = usize::try_from(len).unwrap_or(0);
        let bytes = self.bytes.saturating_add(len);
        let is_first = self.memory.first_may_exceed && self.seqs.is_empty();
        if bytes > self.memory.bytes && !is_first {
            self.starved = true;
            return Ok(());
        }
        self.bytes = bytes;
        self.seqs.push(seq);
        self.chosen.insert(seq);
        *self.of_hosts.entry(host.into_owned()).or_default() += 1;
        Ok(())
    }
}
