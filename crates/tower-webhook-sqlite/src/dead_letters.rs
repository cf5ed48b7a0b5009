use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, Row, Statement};

use crate::{clock::duration_to_ms, damaged::DamagedRows, error::is_of_a_row};

/// What is kept of dead letters: the oldest go first.
pub(crate) struct DeadLetters<'c> {
    total: Statement<'c>,
    oldest: Statement<'c>,
    remove: Statement<'c>,
    forget: [Statement<'c>; 2],
    bounds: DeadLetterBounds,
    /// As of the last count, and of what this process has changed since.
    totals: Totals,
    /// As they were before the transaction that is under way.
    kept: Totals,
    next_count: Instant,
    /// Those that cannot be removed.
    damaged: DamagedRows,
    /// Until when nothing is removed, as it cannot be read what there is.
    unreadable_until: Option<Instant>,
    is_newly_unreadable: bool,
}

#[derive(Clone, Copy)]
pub(crate) struct DeadLetterBounds {
    pub(crate) number: usize,
    pub(crate) bytes: u64,
    pub(crate) time: Duration,
}

#[derive(Clone, Copy, Default)]
struct Totals {
    number: i64,
    bytes: i64,
    /// How many were removed since somebody asked.
    removed: usize,
}

/// The most that are removed at once.
const AT_ONCE: usize = 256;
/// They are counted again after this time, as other processes change them too, and after so many
/// times of what it took to count them.
const COUNT_AGAIN: (Duration, u32) = (Duration::from_secs(1), 100);

/// Where more of them cannot be removed nothing is, as each look goes past all of these.
const MOST_DAMAGED: usize = 1_024;
/// For so long nothing is removed where it cannot be read what there is.
const UNREADABLE: Duration = Duration::from_secs(60);

/// SQLite keeps no larger payload, whatever a row says that somebody has changed.
const LARGEST: i64 = 1_000_000_000;

struct Letter {
    seq: i64,
    died_at: i64,
}

impl<'c> DeadLetters<'c> {
    pub(crate) fn new(conn: &'c Connection, bounds: DeadLetterBounds) -> rusqlite::Result<Self> {
        Ok(Self {
            total: conn.prepare(&format!(
                "SELECT count(*), CAST(total(min(max(payload_len, 0), {LARGEST})) AS INTEGER)
                 FROM delivery INDEXED BY delivery_dead WHERE state = 'dead'"
            ))?,
            oldest: conn.prepare(
                "SELECT seq, died_at FROM delivery INDEXED BY delivery_dead
                 WHERE state = 'dead' ORDER BY died_at",
            )?,
            remove: conn.prepare(
                "DELETE FROM delivery WHERE seq = ?1 AND state = 'dead' RETURNING payload_len",
            )?,
            forget: [
                conn.prepare("DELETE FROM payload WHERE seq = ?1")?,
                conn.prepare("DELETE FROM attempt WHERE delivery = ?1")?,
            ],
            bounds,
            totals: Totals::default(),
            kept: Totals::default(),
            next_count: Instant::now(),
            damaged: DamagedRows::default(),
            unreadable_until: None,
            is_newly_unreadable: false,
        })
    }

    /// So many more than before, and so many bytes of payloads.
    pub(crate) fn changed_by(&mut self, (number, bytes): (i64, i64)) {
        self.totals.number = self.totals.number.saturating_add(number);
        self.totals.bytes = self.totals.bytes.saturating_add(bytes);
    }

    /// The transaction is on the disk.
    pub(crate) fn are_kept(&mut self) {
        self.kept = self.totals;
    }

    /// It is not.
    pub(crate) fn are_lost(&mut self) {
        self.totals = self.kept;
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
        if self.is_unreadable() {
            return false;
        }
        let is_over = |is: i64, most: u64| u64::try_from(is).is_ok_and(|is| is > most);
        let Totals { number, bytes, .. } = self.totals;
        is_over(number, self.bounds.number as u64) || is_over(bytes, self.bounds.bytes)
    }

    /// Makes room for something else. Says whether there were any.
    pub(crate) fn evict_some(&mut self) -> rusqlite::Result<bool> {
        let before = self.totals.removed;
        self.remove_oldest(|_, _| true)?;
        let evicted = self.totals.removed - before;
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
        self.kept.removed = 0;
        std::mem::take(&mut self.totals.removed)
    }

    /// What was found to be damaged since the last call, if anything: begun anew, what has failed does
    /// without it. These rows cannot be removed with others.
    pub(crate) fn take_damaged(&mut self) -> Option<Vec<i64>> {
        let new = self.damaged.take_new();
        let is_newly_unreadable = std::mem::take(&mut self.is_newly_unreadable);
        (is_newly_unreadable || !new.is_empty()).then_some(new)
    }

    /// Whether no other one has to go.
    fn remove_oldest(
        &mut self,
        has_to_go: impl Fn(&Self, &Letter) -> bool,
    ) -> rusqlite::Result<bool> {
        if self.is_unreadable() {
            return Ok(true);
        }
        let letters = self.oldest();
        let letters = self.note_unreadable(letters)?;
        if letters.is_empty() {
            (self.totals.number, self.totals.bytes) = (0, 0);
        }
        for letter in &letters {
            if !has_to_go(self, letter) {
                return Ok(true);
            }
            let removed = self.remove_with_attempts(letter.seq);
            self.damaged.note(letter.seq, removed)?;
        }
        Ok(letters.len() < AT_ONCE)
    }

    fn oldest(&mut self) -> rusqlite::Result<Vec<Letter>> {
        let letters = self.oldest.query_map([], |row| {
            Ok(Letter {
                seq: row.get(0)?,
                died_at: row.get_ref(1)?.as_i64().unwrap_or(0),
            })
        })?;
        let is_held_back = |letter: &Letter| self.damaged.holds(letter.seq);
        let letters = letters.filter(|one| one.as_ref().map_or(true, |one| !is_held_back(one)));
        letters.take(AT_ONCE).collect()
    }

    fn remove_with_attempts(&mut self, seq: i64) -> rusqlite::Result<()> {
        self.remove(seq)?;
        self.forget_attempts(seq)
    }

    /// With its payload, or not at all: that would be in the way of the next one with its number.
    pub(crate) fn remove(&mut self, seq: i64) -> rusqlite::Result<()> {
        let bytes = self.remove.query_row([seq], |row| payload_len(row, 0));
        if let Some(bytes) = bytes.optional()? {
            self.forget[0].execute([seq])?;
            self.changed_by((-1, -bytes));
            self.totals.removed += 1;
        }
        self.damaged.let_go(seq);
        Ok(())
    }

    pub(crate) fn forget_attempts(&mut self, seq: i64) -> rusqlite::Result<()> {
        self.forget[1].execute([seq]).map(drop)
    }

    fn is_unreadable(&self) -> bool {
        self.damaged.number() >= MOST_DAMAGED
            || self
                .unreadable_until
                .is_some_and(|until| Instant::now() < until)
    }

    fn note_unreadable<T>(&mut self, read: rusqlite::Result<T>) -> rusqlite::Result<T> {
        if let Err(error) = &read
            && is_of_a_row(error)
        {
            tracing::error!(%error, "dead letters in the SQLite outbox cannot be removed");
            self.unreadable_until = Some(Instant::now() + UNREADABLE);
            self.is_newly_unreadable = true;
        }
        read
    }

    /// What other processes have done is known only by looking.
    pub(crate) fn count(&mut self) -> rusqlite::Result<()> {
        let began = Instant::now();
        if began < self.next_count || self.is_unreadable() {
            return Ok(());
        }
        let counted = self
            .total
            .query_row([], |row| Ok((row.get(0)?, row.get(1)?)));
        (self.totals.number, self.totals.bytes) = self.note_unreadable(counted)?;
        // Should this transaction be lost, it is known all the same.
        (self.kept.number, self.kept.bytes) = (self.totals.number, self.totals.bytes);
        let (least, times) = COUNT_AGAIN;
        self.next_count = began + (began.elapsed() * times).max(least);
        Ok(())
    }
}

/// How many bytes its payload has, as far as can be believed.
pub(crate) fn payload_len(row: &Row<'_>, column: usize) -> rusqlite::Result<i64> {
    let claim = row.get_ref(column)?.as_i64().unwrap_or(0);
    Ok(claim.clamp(0, LARGEST))
}
