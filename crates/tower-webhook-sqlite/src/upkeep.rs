use std::time::{Duration, Instant};

use rusqlite::{Connection, Statement, params};

use crate::{
    clock::{Clock, Watch, duration_to_ms},
    schema::pragma,
};

/// What is done now and then, a little at a time: dead letters that were kept long enough are
/// removed, free pages are given back, and due times follow a clock that was set back.
pub(crate) struct Upkeep<'c> {
    conn: &'c Connection,
    expired: Statement<'c>,
    remove: [Statement<'c>; 3],
    bring_forward: [Statement<'c>; 2],
    keep: Duration,
    watch: Watch,
    next_look: Instant,
    /// At first, as the clock may have been set back while nobody looked.
    may_be_late: bool,
}

const EVERY: Duration = Duration::from_secs(60);
/// The most dead letters that are removed at once.
const LETTERS: i64 = 256;
/// Free pages that are left for what comes next, and how many others are given back at once.
const SPARE_PAGES: i64 = 1_024;
const PAGES: i64 = 1_024;

impl<'c> Upkeep<'c> {
    pub(crate) fn new(
        conn: &'c Connection,
        keep: Duration,
        clock: &Clock,
    ) -> rusqlite::Result<Self> {
        // One for each state, so that an index spares it the dead letters.
        let bring_forward = |state| {
            conn.prepare(&format!(
                "UPDATE delivery SET due_at = ?1 + delay
                 WHERE state = '{state}' AND due_at > ?1 + delay"
            ))
        };
        Ok(Self {
            conn,
            expired: conn.prepare(
                "SELECT seq FROM delivery WHERE state = 'dead' AND died_at <= ?1 LIMIT ?2",
            )?,
            remove: [
                conn.prepare("DELETE FROM delivery WHERE seq = ?1")?,
                conn.prepare("DELETE FROM payload WHERE seq = ?1")?,
                conn.prepare("DELETE FROM attempt WHERE delivery = ?1")?,
            ],
            bring_forward: [bring_forward("waiting")?, bring_forward("leased")?],
            keep,
            watch: Watch::new(clock),
            next_look: Instant::now(),
            may_be_late: true,
        })
    }

    pub(crate) fn run(&mut self, clock: &Clock) -> rusqlite::Result<()> {
        self.may_be_late |= self.watch.was_set_back(clock);
        if self.may_be_late {
            for statement in &mut self.bring_forward {
                statement.execute([clock.now_ms()])?;
            }
            self.may_be_late = false;
        }
        if Instant::now() >= self.next_look {
            let all = self.remove_expired(clock)? & self.give_back_pages()?;
            if all {
                self.next_look = Instant::now() + EVERY;
            }
        }
        Ok(())
    }

    /// Whether there are no more.
    fn remove_expired(&mut self, clock: &Clock) -> rusqlite::Result<bool> {
        let until = clock.now_ms() - duration_to_ms(self.keep);
        let expired = self
            .expired
            .query_map(params![until, LETTERS], |row| row.get(0))?;
        let expired: Vec<i64> = expired.collect::<Result<_, _>>()?;
        if expired.is_empty() {
            return Ok(true);
        }
        let transaction = self.conn.unchecked_transaction()?;
        for seq in &expired {
            for statement in &mut self.remove {
                statement.execute([seq])?;
            }
        }
        transaction.commit()?;
        tracing::info!(removed = expired.len(), "old dead letters removed");
        Ok(expired.len() < LETTERS as usize)
    }

    /// Whether there are no more.
    fn give_back_pages(&self) -> rusqlite::Result<bool> {
        let free = pragma(self.conn, "freelist_count")? - SPARE_PAGES;
        if free <= 0 {
            return Ok(true);
        }
        let sql = format!("PRAGMA incremental_vacuum({})", free.min(PAGES));
        let mut vacuum = self.conn.prepare(&sql)?;
        let mut rows = vacuum.query([])?;
        while rows.next()?.is_some() {}
        Ok(free <= PAGES)
    }
}
