use std::time::{Duration, Instant};

use rusqlite::{Connection, Statement, params};

use crate::{
    clock::{Clock, Watch},
    dead_letters::DeadLetters,
    schema::pragma,
};

/// What is done now and then, a little at a time, and in turn with what is asked for: dead letters that
/// were kept long enough are removed, free pages are given back, and due times follow a clock that was
/// set back.
pub(crate) struct Upkeep<'c> {
    conn: &'c Connection,
    later: Statement<'c>,
    bring_forward: Statement<'c>,
    bring_forward_all: [Statement<'c>; 2],
    watch: Watch,
    next_look: Instant,
    /// What is due before this, and after now, was not looked at yet. At first that is all, as the clock
    /// may have been set back while nobody looked.
    may_be_late: Option<i64>,
}

const EVERY: Duration = Duration::from_secs(60);
/// Free pages that are left for what comes next, and how many others are given back at once.
const SPARE_PAGES: i64 = 1_024;
const PAGES: i64 = 512;
/// So many due times are looked at at once.
const TIMES: usize = 1_024;

impl<'c> Upkeep<'c> {
    pub(crate) fn new(conn: &'c Connection, clock: &Clock) -> rusqlite::Result<Self> {
        // One for each state, so that an index spares it the dead letters.
        let bring_forward = |condition| {
            conn.prepare(&format!(
                "UPDATE delivery SET due_at = ?1 + delay WHERE {condition} AND due_at > ?1 + delay"
            ))
        };
        Ok(Self {
            conn,
            later: conn.prepare(
                "SELECT seq, due_at, delay FROM delivery INDEXED BY delivery_due
                 WHERE state = 'waiting' AND due_at > ?1 AND due_at < ?2
                 ORDER BY due_at DESC LIMIT ?3",
            )?,
            bring_forward: bring_forward("seq = ?2")?,
            bring_forward_all: [
                bring_forward("state = 'waiting' AND due_at = ?2")?,
                bring_forward("state = 'leased'")?,
            ],
            watch: Watch::new(clock),
            next_look: Instant::now(),
            may_be_late: Some(i64::MAX),
        })
    }

    /// Whether there is something to do now.
    pub(crate) fn is_due(&mut self, clock: &Clock) -> bool {
        if self.watch.was_set_back(clock) {
            self.may_be_late = Some(i64::MAX);
        }
        self.may_be_late.is_some() || Instant::now() >= self.next_look
    }

    /// Some of it, within a transaction.
    pub(crate) fn run(
        &mut self,
        dead: &mut DeadLetters<'_>,
        clock: &Clock,
        may_shrink: bool,
    ) -> rusqlite::Result<()> {
        let now = clock.now_ms();
        if let Some(before) = self.may_be_late {
            self.may_be_late = self.bring_forward(now, before)?;
            return Ok(());
        }
        dead.count()?;
        let all = dead.keep_to_bounds(now)? && (!may_shrink || self.give_back_pages()?);
        if all {
            self.next_look = Instant::now() + EVERY;
        }
        Ok(())
    }

    /// From the latest due time on; gives where to go on.
    fn bring_forward(&mut self, now: i64, before: i64) -> rusqlite::Result<Option<i64>> {
        if before == i64::MAX {
            self.bring_forward_all[1].execute([now])?;
        }
        let rows = self
            .later
            .query_map(params![now, before, TIMES as i64], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?;
        let rows: Vec<(i64, i64, i64)> = rows.collect::<Result<_, _>>()?;
        for (seq, due_at, delay) in &rows {
            if *due_at > now.saturating_add(*delay) {
                self.bring_forward.execute([now, *seq])?;
            }
        }
        let (Some(&(_, latest, _)), Some(&(_, earliest, _))) = (rows.first(), rows.last()) else {
            return Ok(None);
        };
        Ok(match rows.len() {
            // There may be others that are due at the same time.
            TIMES if latest > earliest => Some(earliest + 1),
            TIMES => {
                self.bring_forward_all[0].execute([now, earliest])?;
                Some(earliest)
            }
            _ => None,
        })
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
