use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use rusqlite::{Connection, Statement, params};
use tower_webhook::{DeliveryId, outbox::Lease};

/// Who has leased what: this process, and the others that have the file open.
///
/// An owner with leases writes a growing number, its beat, into its row whenever they are renewed.
/// One whose beat stands still for the time of a lease, by this process's own steady clock, is gone,
/// and what it had leased is due again. No wall clock is asked: setting one takes nothing from
/// anybody.
pub(crate) struct Owner<'c> {
    conn: &'c Connection,
    beat: Statement<'c>,
    enter: Statement<'c>,
    others: Statement<'c>,
    leave: Statement<'c>,
    free: Statement<'c>,
    me: i64,
    /// The token of its latest lease. They begin anywhere, so that no other process has the same.
    token: u64,
    entered: bool,
    last_beat: Option<Instant>,
    lease: Duration,
    seen: HashMap<i64, Seen>,
}

/// Within this time a beat serves all that is leased.
const BEAT: Duration = Duration::from_secs(1);

struct Seen {
    beat: i64,
    since: Instant,
    /// When the file's lock was to be had: an owner that waits for the lock is not gone.
    could_write: Option<Instant>,
}

impl<'c> Owner<'c> {
    pub(crate) fn new(conn: &'c Connection, lease: Duration) -> rusqlite::Result<Self> {
        Ok(Self {
            conn,
            beat: conn.prepare("UPDATE owner SET beat = beat + 1 WHERE id = ?1")?,
            enter: conn
                .prepare("INSERT INTO owner (id, pid, since, beat) VALUES (?1, ?2, ?3, 0)")?,
            others: conn.prepare("SELECT id, beat FROM owner WHERE id <> ?1")?,
            leave: conn.prepare("DELETE FROM owner WHERE id = ?1 AND (?2 IS NULL OR beat = ?2)")?,
            free: conn.prepare(
                "UPDATE delivery SET state = 'waiting', owner = NULL, token = NULL
                 WHERE state = 'leased' AND owner = ?1",
            )?,
            me: new_id(),
            token: fastrand::u64(..1 << 62),
            entered: false,
            last_beat: None,
            lease: lease.max(3 * BEAT),
            seen: HashMap::new(),
        })
    }

    pub(crate) fn id(&self) -> i64 {
        self.me
    }

    pub(crate) fn new_lease(&mut self, delivery: DeliveryId) -> Lease {
        self.token += 1;
        Lease::new(delivery, self.token)
    }

    /// Within a transaction, before anything is leased in its name.
    pub(crate) fn beat_if_due(&mut self, now: i64) -> rusqlite::Result<()> {
        match self.last_beat.is_none_or(|last| last.elapsed() >= BEAT) {
            true => self.beat(now),
            false => Ok(()),
        }
    }

    /// Within a transaction. Where others took this owner for gone, it is another one from now on,
    /// and what the former had leased is lost.
    pub(crate) fn beat(&mut self, now: i64) -> rusqlite::Result<()> {
        if self.beat.execute([self.me])? == 0 {
            if self.entered {
                tracing::warn!(
                    "this process was silent for so long that its deliveries were taken over"
                );
                self.me = new_id();
            }
            self.enter
                .execute(params![self.me, std::process::id(), now])?;
        }
        self.last_beat = Some(Instant::now());
        Ok(())
    }

    /// The transaction with the beat is on the disk.
    pub(crate) fn beat_is_kept(&mut self) {
        self.entered |= self.last_beat.is_some();
    }

    /// It is not.
    pub(crate) fn beat_is_lost(&mut self) {
        self.last_beat = None;
    }

    /// Within a transaction.
    pub(crate) fn leave(&mut self) -> rusqlite::Result<()> {
        self.free.execute([self.me])?;
        self.leave.execute(params![self.me, None::<i64>])?;
        // Whatever it leases later, it leases as another one.
        self.me = new_id();
        self.entered = false;
        self.last_beat = None;
        Ok(())
    }

    pub(crate) fn has_entered(&self) -> bool {
        self.entered
    }

    /// Frees what owners that are gone had leased.
    pub(crate) fn take_over(&mut self) -> rusqlite::Result<()> {
        let others = self
            .others
            .query_map([self.me], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let others: Vec<(i64, i64)> = others.collect::<Result<_, _>>()?;
        self.seen
            .retain(|id, _| others.iter().any(|(other, _)| other == id));
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
                    self.free_all_of(id, beat)?;
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn free_all_of(&mut self, id: i64, beat: i64) -> rusqlite::Result<()> {
        let transaction = self.conn.unchecked_transaction()?;
        let gone = self.leave.execute([id, beat])? > 0;
        let freed = if gone { self.free.execute([id])? } else { 0 };
        transaction.commit()?;
        if freed > 0 {
            tracing::warn!(freed, "deliveries of a process that is gone are due again");
        }
        Ok(())
    }
}

/// Never used before, as far as chance goes.
fn new_id() -> i64 {
    fastrand::i64(1..i64::MAX)
}
