use std::collections::{HashMap, HashSet};

use rusqlite::{Row, Rows};

use super::{
    command::ClaimRequest,
    memory::{Memory, Share},
};

/// The most that one request claims: what is claimed ahead of time is nobody else's.
const AT_MOST: usize = 256;

/// What one request is given.
pub(super) struct Choice<'r> {
    request: &'r ClaimRequest,
    pub(super) rows: Vec<(i64, Share)>,
    /// The first one that did not fit into the memory, and what it needs of it.
    pub(super) waits: Option<(i64, usize)>,
    decided: HashSet<i64>,
    of_hosts: HashMap<String, usize>,
    memory: Memory,
}

impl<'r> Choice<'r> {
    pub(super) fn new(request: &'r ClaimRequest, memory: Memory) -> Self {
        Self {
            request,
            rows: Vec::new(),
            waits: None,
            decided: HashSet::new(),
            of_hosts: HashMap::new(),
            memory,
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.rows.len() < self.request.at_most.min(AT_MOST)
    }

    fn room(&self, host: &str) -> usize {
        let request = self.request;
        let room = request.rooms.get(host).unwrap_or(&request.room_elsewhere);
        room.saturating_sub(self.of_hosts.get(host).copied().unwrap_or(0))
    }

    /// The most rows of this host that are worth a look.
    pub(super) fn most_of_host(&self, host: &str) -> usize {
        match self.room(host) {
            0 => 0,
            // Some of them may be decided already.
            room => (room + self.decided.len()).min(AT_MOST),
        }
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
        if self.decided.contains(&seq) || self.room(&host) == 0 {
            return Ok(());
        }
        let len = row.get_ref(2)?.as_i64().unwrap_or(0);
        let len = usize::try_from(len).unwrap_or(0);
        match self.memory.share(len, self.waits.map(|(_, need)| need)) {
            Some(share) => {
                self.memory.take(share);
                self.rows.push((seq, share));
            }
            // It keeps its place among its host's, too.
            None if self.waits.is_none() => self.waits = Some((seq, len)),
            None => return Ok(()),
        }
        self.decided.insert(seq);
        *self.of_hosts.entry(host.into_owned()).or_default() += 1;
        Ok(())
    }
}
