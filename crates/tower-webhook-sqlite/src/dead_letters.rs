use std::time::{Duration, Instant};

use rusqlite::{Connection, Statement};

use crate::clock::duration_to_ms;

/// What is kept of dead letters: the oldest go first.
pub(crate) struct DeadLetters<'c> {
    total: Statement<'c>,
    oldest: Statement<'c>,
    remove: [Statement<'c>; 3],
    bounds: DeadLetterBounds,
    /// As of the last count, and of what this process has changed since.
    number: i64,
    bytes: i64,
    next_count: Instant,
    removed: usize,
}

#[derive(Clone, Copy)]
pub(crate) struct DeadLetterBounds {
    pub(crate) number: usize,
    pub(crate) bytes: u64,
    pub(crate) time: Duration,
}

/// The most that are removed at once.
const AT_ONCE: usize = 256;
/// They are counted again after this time, as other processes change them too, and after so many
/// times of what it took to count them.
const COUNT_AGAIN: (Duration, u32) = (Duration::from_secs(1), 100);

struct Letter {
    seq: i64,
    bytes: i64,
    died_at: i64,
}

impl<'c> DeadLetters<'c> {
    pub(crate) fn new(conn: &'c Connection, bounds: DeadLetterBounds) -> rusqlite::Result<Self> {
        Ok(Self {
            total: conn.prepare(
                "SELECT count(*), CAST(total(payload_len) AS INTEGER)
                 FROM delivery INDEXED BY delivery_dead WHERE state = 'dead'",
            )?,
            oldest: conn.prepare(
                "SELECT seq, payload_len, died_at FROM delivery INDEXED BY delivery_dead
                 WHERE state = 'dead' ORDER BY died_at LIMIT ?1",
            )?,
            remove: [
                conn.prepare("DELETE FROM delivery WHERE seq = ?1")?,
                conn.prepare("DELETE FROM payload WHERE seq = ?1")?,
                conn.prepare("DELETE FROM attempt WHERE delivery = ?1")?,
            ],
            bounds,
            number: 0,
            bytes: 0,
            next_count: Instant::now(),
            removed: 0,
        })
    }

    /// So many more than before, and so many bytes of payloads.
    pub(crate) fn changed_by(&mut self, (number, bytes): (i64, i64)) {
        self.number += number;
        self.bytes += bytes;
    }

    /// Keeps to the bounds. Says whether there is nothing left to remove.
    pub(crate) fn keep_to_bounds(&mut self, now: i64) -> rusqlite::Result<bool> {
        if self.is_over() {
            self.count()?;
        }
        let expired = now.saturating_sub(duration_to_ms(self.bounds.time));
        self.remove_oldest(|all, letter| all.is_over() || letter.died_at <= expired)
    }

    pub(crate) fn is_over(&self) -> bool {
        let is_over = |is: i64, most: u64| u64::try_from(is).is_ok_and(|is| is > most);
        is_over(self.number, self.bounds.number as u64) || is_over(self.bytes, self.bounds.bytes)
    }

    /// Makes room for something else. Says whether there were any.
    pub(crate) fn evict_some(&mut self) -> rusqlite::Result<bool> {
        let before = self.removed;
        self.remove_oldest(|_, _| true)?;
        let evicted = self.removed - before;
        if evicted > 0 {
            tracing::warn!(
                evicted,
                "dead letters had to make room in the SQLite outbox"
            );
        }
        Ok(evicted > 0)
    }

    /// How many were removed since the last call.
    pub(crate) fn take_removed(&mut self) -> usize {
        std::mem::take(&mut self.removed)
    }

    /// Whether no other one has to go.
    fn remove_oldest(
        &mut self,
        has_to_go: impl Fn(&Self, &Letter) -> bool,
    ) -> rusqlite::Result<bool> {
        let letters = self.oldest.query_map([AT_ONCE as i64], |row| {
            Ok(Letter {
                seq: row.get(0)?,
                bytes: row.get_ref(1)?.as_i64().unwrap_or(0),
                died_at: row.get_ref(2)?.as_i64().unwrap_or(0),
            })
        })?;
        let letters: Vec<_> = letters.collect::<Result<_, _>>()?;
        if letters.is_empty() {
            (self.number, self.bytes) = (0, 0);
        }
        for letter in &letters {
            if !has_to_go(self, letter) {
                return Ok(true);
            }
            for statement in &mut self.remove {
                statement.execute([letter.seq])?;
            }
            self.changed_by((-1, -letter.bytes));
            self.removed += 1;
        }
        Ok(letters.len() < AT_ONCE)
    }

    /// What other processes have done is known only by looking.
    pub(crate) fn count(&mut self) -> rusqlite::Result<()> {
        let began = Instant::now();
        if began < self.next_count {
            return Ok(());
        }
        (self.number, self.bytes) = self
            .total
            .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let (least, times) = COUNT_AGAIN;
        self.next_count = began + (began.elapsed() * times).max(least);
        Ok(())
    }
}
