use std::time::{Duration, Instant};

use rusqlite::{Connection, Statement, params};

use crate::{
    clock::{Clock, Watch},
    damaged::DamagedRows,
    dead_letters::DeadLetters,
    schema::pragma,
};

/// What is done now and then, a little at a time, and in turn with what is asked for: due times follow a
/// clock that was set back, dead letters that were kept long enough are removed, and free pages are
/// given back.
pub(crate) struct Upkeep<'c> {
    conn: &'c Connection,
    later: Statement<'c>,
    at_once: Statement<'c>,
    leased: Statement<'c>,
    bring_forward: Statement<'c>,
    /// Those whose due time cannot be changed.
    pub(crate) damaged: DamagedRows,
    watch: Watch,
    next_look: Instant,
    next: Step,
}

enum Step {
    /// What is due before this, and after now, was not looked at yet. At first that is all, as the clock
    /// may have been set back while nobody looked.
    Times(i64),
    Letters,
    Pages,
}

const EVERY: Duration = Duration::from_secs(60);
/// Free pages that are left for what comes next, and how many others are given back at once.
const SPARE_PAGES: i64 = 1_024;
const PAGES: i64 = 512;
/// So many due times are looked at at once.
const TIMES: usize = 1_024;

impl<'c> Upkeep<'c> {
    pub(crate) fn new(conn: &'c Connection, clock: &Clock) -> rusqlite::Result<Self> {
        Ok(Self {
            conn,
            // Of these the indices alone are read.
            later: conn.prepare(
                "SELECT seq, due_at FROM delivery INDEXED BY delivery_due
                 WHERE state = 'waiting' AND due_at > ?1 AND due_at < ?2
                 ORDER BY due_at DESC LIMIT ?3",
            )?,
            at_once: conn.prepare(
                "SELECT seq FROM delivery INDEXED BY delivery_due
                 WHERE state = 'waiting' AND due_at = ?1",
            )?,
            leased: conn.prepare(
                "SELECT seq FROM delivery INDEXED BY delivery_owner WHERE state = 'leased'",
            )?,
            bring_forward: conn.prepare(
                "UPDATE delivery SET due_at = ?1 + delay WHERE seq = ?2 AND due_at > ?1 + delay",
            )?,
            damaged: DamagedRows::default(),
            watch: Watch::new(clock),
            next_look: Instant::now(),
            next: Step::Times(i64::MAX),
        })
    }

    /// Whether there is something to do now.
    pub(crate) fn is_due(&mut self, clock: &Clock) -> bool {
        if self.watch.was_set_back(clock) {
            self.next = Step::Times(i64::MAX);
            self.next_look = Instant::now();
        }
        Instant::now() >= self.next_look
    }

    /// Some of it, within a transaction.
    pub(crate) fn run(
        &mut self,
        dead: &mut DeadLetters<'_>,
        clock: &Clock,
        may_shrink: bool,
    ) -> rusqlite::Result<()> {
        let now = clock.now_ms();
        let is_over = match self.next {
            Step::Times(before) => match self.bring_forward(now, before)? {
                Some(before) => {
                    self.next = Step::Times(before);
                    false
                }
                None => true,
            },
            Step::Letters => {
                dead.count()?;
                dead.keep_to_bounds(now)?
            }
            Step::Pages => !may_shrink || self.give_back_pages()?,
        };
        if is_over {
            self.go_on();
        }
        Ok(())
    }

    /// With what is next, also where this has failed and would fail again.
    pub(crate) fn go_on(&mut self) {
        self.next = match self.next {
            Step::Times(_) => Step::Letters,
            Step::Letters => Step::Pages,
            Step::Pages => {
                self.next_look = Instant::now() + EVERY;
                Step::Letters
            }
        };
    }

    /// From the latest due time on; gives where to go on.
    fn bring_forward(&mut self, now: i64, before: i64) -> rusqlite::Result<Option<i64>> {
        if before == i64::MAX {
            let leased = self.leased.query_map([], |row| row.get(0))?;
            let leased: Vec<i64> = leased.collect::<Result<_, _>>()?;
            self.bring_all_forward(now, &leased)?;
        }
        let rows = self
            .later
            .query_map(params![now, before, TIMES as i64], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        let rows: Vec<(i64, i64)> = rows.collect::<Result<_, _>>()?;
        let (seqs, times): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        self.bring_all_forward(now, &seqs)?;
        let (Some(&latest), Some(&earliest)) = (times.first(), times.last()) else {
            return Ok(None);
        };
        Ok(match seqs.len() {
            // There may be others that are due at the same time.
            TIMES if latest > earliest => Some(earliest + 1),
            TIMES => {
                let at_once = self.at_once.query_map([earliest], |row| row.get(0))?;
                let at_once: Vec<i64> = at_once.collect::<Result<_, _>>()?;
                self.bring_all_forward(now, &at_once)?;
                Some(earliest)
            }
            _ => None,
        })
    }

    fn bring_all_forward(&mut self, now: i64, seqs: &[i64]) -> rusqlite::Result<()> {
        for &seq in seqs {
            if !self.damaged.holds(seq) {
                let brought = self.bring_forward.execute([now, seq]);
                self.damaged.note(seq, brought)?;
            }
        }
        Ok(())
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
