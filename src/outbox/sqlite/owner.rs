use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use rusqlite::{Connection, Statement, params};

/// Who has claimed what: this process, and the others that have the file open.
///
/// An owner with claims writes a growing number, its beat, into its row. One whose beat stands
/// still for the lease, by this process's own steady clock, is gone, and what it had claimed is
/// due again. No wall clock is asked: setting one takes nothing from anybody.
pub(super) struct Owners<'c> {
    conn: &'c Connection,
    beat: Statement<'c>,
    enter: Statement<'c>,
    others: Statement<'c>,
    leave: Statement<'c>,
    free: Statement<'c>,
    me: i64,
    entered: bool,
    last_beat: Option<Instant>,
    lease: Duration,
    seen: HashMap<i64, Seen>,
}

/// How often an owner with claims beats.
pub(super) const BEAT: Duration = Duration::from_secs(1);

struct Seen {
    beat: i64,
    since: Instant,
    /// When the file's lock was to be had: an owner that waits for the lock is not gone.
    could_write: Option<Instant>,
}

impl<'c> Owners<'c> {
    pub(super) fn new(conn: &'c Connection, lease: Duration) -> rusqlite::Result<Self> {
        Ok(Self {
            conn,
            beat: conn.prepare("UPDATE owner SET beat = beat + 1 WHERE id = ?1")?,
            enter: conn
                .prepare("INSERT INTO owner (id, pid, since, beat) VALUES (?1, ?2, ?3, 0)")?,
            others: conn.prepare("SELECT id, beat FROM owner WHERE id <> ?1")?,
            leave: conn.prepare("DELETE FROM owner WHERE id = ?1 AND (?2 IS NULL OR beat = ?2)")?,
            free: conn.prepare(
                "UPDATE delivery SET state = 'waiting', owner = NULL
                 WHERE state = 'claimed' AND owner = ?1",
            )?,
            me: new_id(),
            entered: false,
            last_beat: None,
            lease: lease.max(3 * BEAT),
            seen: HashMap::new(),
        })
    }

    pub(super) fn me(&self) -> i64 {
        self.me
    }

    pub(super) fn wants_to_beat(&self) -> bool {
        self.last_beat.is_none_or(|last| last.elapsed() >= BEAT)
    }

    /// Within a transaction. False when others took this owner for gone: from now on it is
    /// another one, and what the former had claimed is lost.
    pub(super) fn beat(&mut self, now: i64) -> rusqlite::Result<bool> {
        let mut still_me = true;
        if self.beat.execute([self.me])? == 0 {
            if self.entered {
                self.me = new_id();
                still_me = false;
            }
            self.enter
                .execute(params![self.me, std::process::id(), now])?;
        }
        self.last_beat = Some(Instant::now());
        Ok(still_me)
    }

    /// The transaction with the beat is on the disk.
    pub(super) fn beat_is_kept(&mut self) {
        self.entered |= self.last_beat.is_some();
    }

    /// It is not.
    pub(super) fn beat_is_lost(&mut self) {
        self.last_beat = None;
    }

    /// Within a transaction.
    pub(super) fn leave(&mut self) -> rusqlite::Result<()> {
        self.free.execute([self.me])?;
        self.leave
            .execute(params![self.me, None::<i64>])
            .map(|_| ())
    }

    pub(super) fn has_entered(&self) -> bool {
        self.entered
    }

    /// Frees what owners that are gone had claimed; says whether there was any.
    pub(super) fn take_over(&mut self) -> rusqlite::Result<bool> {
        let others = self
            .others
            .query_map([self.me], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let others: Vec<(i64, i64)> = others.collect::<Result<_, _>>()?;
        self.seen
            .retain(|id, _| others.iter().any(|(other, _)| other == id));
        let mut freed = false;
        for (id, beat) in others {
            let now = Instant::now();
            let fresh = |_| Seen {
                beat,
                since: now,
                could_write: None,
            };
            let seen = self.seen.entry(id).or_insert_with(|| fresh(()));
            if seen.beat != beat {
                *seen = fresh(());
            }
            if now.duration_since(seen.since) < self.lease {
                continue;
            }
            match seen.could_write {
                None => {
                    self.conn.execute_batch("BEGIN IMMEDIATE; COMMIT")?;
                    seen.could_write = Some(Instant::now());
                }
                Some(could_write) if now.duration_since(could_write) >= 2 * BEAT => {
                    freed |= self.free_all_of(id, beat)?;
                }
                Some(_) => {}
            }
        }
        Ok(freed)
    }

    fn free_all_of(&mut self, id: i64, beat: i64) -> rusqlite::Result<bool> {
        let transaction = self.conn.unchecked_transaction()?;
        let gone = self.leave.execute([id, beat])? > 0;
        let freed = if gone { self.free.execute([id])? } else { 0 };
        transaction.commit()?;
        if freed > 0 {
            tracing::warn!(freed, "deliveries of a process that is gone are due again");
        }
        Ok(freed > 0)
    }
}

/// Never used before, as far as chance goes.
fn new_id() -> i64 {
    fastrand::i64(1..i64::MAX)
}
