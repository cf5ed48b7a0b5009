use std::collections::HashSet;

use crate::error::is_of_a_row;

/// Rows that could not be read or changed. Whoever meets one holds it back from then on, and begins
/// anew without it: SQLite commits nothing of a transaction that has met a damaged page.
#[derive(Default)]
pub(crate) struct DamagedRows {
    held_back: HashSet<i64>,
    new: Vec<i64>,
}

impl DamagedRows {
    /// Holds the row back where it is the reason for which something failed.
    pub(crate) fn note<T>(&mut self, seq: i64, done: rusqlite::Result<T>) -> rusqlite::Result<T> {
        if let Err(error) = &done
            && is_of_a_row(error)
            && self.held_back.insert(seq)
        {
            tracing::error!(seq, %error, "a row of the SQLite outbox cannot be read or written");
            self.new.push(seq);
        }
        done
    }

    pub(crate) fn holds(&self, seq: i64) -> bool {
        self.held_back.contains(&seq)
    }

    pub(crate) fn number(&self) -> usize {
        self.held_back.len()
    }

    /// Those that are held back since the last call.
    pub(crate) fn take_new(&mut self) -> Vec<i64> {
        std::mem::take(&mut self.new)
    }

    pub(crate) fn let_go(&mut self, seq: i64) {
        self.held_back.remove(&seq);
    }
}
