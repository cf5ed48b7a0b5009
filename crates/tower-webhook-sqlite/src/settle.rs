use rusqlite::{Connection, OptionalExtension, Row, Statement, params};
use tower_webhook::{
    event::FailReason,
    outbox::{
        AttemptRecord, DeliveryFilter, DeliveryState, Lease, SettleOutcome, Settlement, Verdict,
    },
};

use crate::{
    clock::{duration_to_ms, to_ms},
    damaged::DamagedRows,
    dead_letters::payload_len,
    history::{Ending, History},
    read::attempt as attempt_from,
    sweep::{Progress, Swept},
    text::OutcomeColumns,
};

/// Changes the state of deliveries.
pub(crate) struct Settle<'c> {
    conn: &'c Connection,
    leased: Statement<'c>,
    attempts: Statement<'c>,
    remove: Statement<'c>,
    again: Statement<'c>,
    die: Statement<'c>,
    release: Statement<'c>,
    record: Statement<'c>,
    forget_payload: Statement<'c>,
    forget_attempts: Statement<'c>,
    holds: Statement<'c>,
    revive: Statement<'c>,
    cancel: Statement<'c>,
    /// Dead letters that there are more, and the bytes of their payloads, since somebody asked.
    pub(crate) more_dead: (i64, i64),
    /// Those that could not be changed are revived and cancelled no more.
    pub(crate) damaged: DamagedRows,
    /// Attempts are recorded: not where the file has room for nothing else than what becomes of a
    /// delivery.
    pub(crate) keeps_records: bool,
}

impl<'c> Settle<'c> {
    pub(crate) fn new(conn: &'c Connection) -> rusqlite::Result<Self> {
        let leased = |change: &str| {
            conn.prepare(&format!(
                "{change} WHERE id = ?1 AND token = ?2 AND state = 'leased'
                 RETURNING seq, payload_len"
            ))
        };
        Ok(Self {
            conn,
            leased: conn.prepare(
                "SELECT seq, payload_len FROM delivery
                 WHERE id = ?1 AND token = ?2 AND state = 'leased'",
            )?,
            attempts: conn.prepare(
                "SELECT attempt, started_at, took_us, status, retry_after, error
                 FROM attempt WHERE delivery = ?1 ORDER BY rowid",
            )?,
            remove: conn.prepare("DELETE FROM delivery WHERE seq = ?1")?,
            again: leased(
                "UPDATE delivery SET state = 'waiting', owner = NULL, token = NULL,
                     attempt = CASE WHEN NOT ?5 THEN attempt
                         WHEN attempt BETWEEN 1 AND 4294967294 THEN attempt + 1
                         ELSE 2 END, due_at = ?3, delay = ?4",
            )?,
            die: leased(
                "UPDATE delivery SET state = 'dead', owner = NULL, token = NULL,
                     died_at = ?3, reason = ?4",
            )?,
            release: leased("UPDATE delivery SET state = 'waiting', owner = NULL, token = NULL")?,
            record: conn.prepare(
                "INSERT INTO attempt (delivery, attempt, started_at, took_us, status,
                     retry_after, error)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?,
            forget_payload: conn.prepare("DELETE FROM payload WHERE seq = ?1")?,
            forget_attempts: conn.prepare("DELETE FROM attempt WHERE delivery = ?1")?,
            holds: conn.prepare(
                "SELECT seq FROM delivery WHERE id = ?1 AND token = ?2 AND state = 'leased'",
            )?,
            revive: conn.prepare(
                "UPDATE delivery SET state = 'waiting', attempt = 1, due_at = ?2, delay = 0,
                     died_at = NULL, reason = NULL
                 WHERE seq = ?1 AND state = 'dead' RETURNING payload_len",
            )?,
            cancel: conn.prepare("DELETE FROM delivery WHERE seq = ?1 AND state = 'waiting'")?,
            more_dead: (0, 0),
            damaged: DamagedRows::default(),
            keeps_records: true,
        })
    }

    pub(crate) fn take_more_dead(&mut self) -> (i64, i64) {
        std::mem::take(&mut self.more_dead)
    }

    pub(crate) fn run_all(
        &mut self,
        batch: &[Settlement],
        history: &mut History<'_>,
        now: i64,
    ) -> rusqlite::Result<Vec<SettleOutcome>> {
        let run = |one| self.run(one, history, now);
        batch.iter().map(run).collect()
    }

    fn run(
        &mut self,
        settlement: &Settlement,
        history: &mut History<'_>,
        now: i64,
    ) -> rusqlite::Result<SettleOutcome> {
        let id = settlement.lease.delivery.to_string();
        let token = settlement.lease.token as i64;
        let seq = |row: &Row<'_>| row.get(0);
        let changed = match settlement.verdict {
            Verdict::Delivered | Verdict::Failed(_) | Verdict::Forgotten => {
                return self.end(settlement, history, now);
            }
            Verdict::AgainIn(delay) | Verdict::PutOff(delay) => {
                let is_next = matches!(settlement.verdict, Verdict::AgainIn(_));
                let delay = duration_to_ms(delay);
                let due = now.saturating_add(delay);
                let again = params![id, token, due, delay, is_next];
                self.again.query_row(again, seq)
            }
            Verdict::Dead(last) => self.die(settlement.lease, now, &last.to_string()),
            Verdict::Released => self.release.query_row(params![id, token], seq),
        };
        let Some(seq) = changed.optional()? else {
            return Ok(SettleOutcome::LeaseLost);
        };
        if let Some(record) = settlement.record.as_ref().filter(|_| self.keeps_records) {
            self.write_record(seq, record)?;
        }
        Ok(SettleOutcome::Done)
    }

    /// It becomes history, or is forgotten.
    fn end(
        &mut self,
        settlement: &Settlement,
        history: &mut History<'_>,
        now: i64,
    ) -> rusqlite::Result<SettleOutcome> {
        let Settlement {
            lease,
            verdict,
            record,
            ..
        } = settlement;
        let failure = match verdict {
            Verdict::Failed(reason) => Some(*reason),
            _ => None,
        };
        let leased = params![lease.delivery.to_string(), lease.token as i64];
        let leased: Option<(i64, i64)> = self
            .leased
            .query_row(leased, |row| Ok((row.get(0)?, payload_len(row, 1)?)))
            .optional()?;
        let Some((seq, len)) = leased else {
            return Ok(SettleOutcome::LeaseLost);
        };
        let is_kept = self.keeps_records && history.is_kept() && *verdict != Verdict::Forgotten;
        let mut may_have_attempts = true;
        if is_kept {
            let attempts = self.attempts.query_map([seq], attempt_from)?;
            let mut attempts: Vec<_> = attempts.collect::<Result<_, _>>()?;
            may_have_attempts = !attempts.is_empty();
            attempts.extend(*record);
            let ending = Ending {
                seq,
                failure: failure.map(FailReason::name),
                attempts: &attempts,
                // What is kept of a run was never to be sent.
                has_payload: history.keeps_payload(len) && failure.is_none(),
            };
            history.add(&ending, now)?;
        }
        self.remove.execute([seq])?;
        self.forget_payload.execute([seq])?;
        if may_have_attempts {
            self.forget_attempts.execute([seq])?;
        }
        Ok(SettleOutcome::Done)
    }

    /// Its end cannot be noted, and it must not be sent again.
    pub(crate) fn bury(&mut self, lease: Lease, now: i64) -> rusqlite::Result<()> {
        let reason = "how its attempt ended could not be noted";
        self.die(lease, now, reason).optional()?;
        Ok(())
    }

    fn die(&mut self, lease: Lease, now: i64, reason: &str) -> rusqlite::Result<i64> {
        let id = lease.delivery.to_string();
        let dead = params![id, lease.token as i64, now, reason];
        let (seq, bytes) = self
            .die
            .query_row(dead, |row| Ok((row.get(0)?, payload_len(row, 1)?)))?;
        self.more_dead.0 += 1;
        self.more_dead.1 += bytes;
        Ok(seq)
    }

    pub(crate) fn holds(&mut self, lease: Lease) -> rusqlite::Result<bool> {
        let id = lease.delivery.to_string();
        self.holds.exists(params![id, lease.token as i64])
    }

    /// Makes some dead letters due.
    pub(crate) fn revive(
        &mut self,
        wanted: &DeliveryFilter,
        mut progress: Progress,
        now: i64,
    ) -> rusqlite::Result<Progress> {
        let dead = wanted.clone().with_state(DeliveryState::Dead);
        for seq in progress.step(self.conn, &dead, Swept::DEAD)? {
            if self.damaged.holds(seq) {
                continue;
            }
            let bytes = self.revive.query_row([seq, now], |row| payload_len(row, 0));
            if let Some(bytes) = self.damaged.note(seq, bytes.optional())? {
                progress.done += 1;
                self.more_dead.0 -= 1;
                self.more_dead.1 -= bytes;
            }
        }
        Ok(progress)
    }

    /// Makes some due that were delivered, and whose payloads are kept.
    pub(crate) fn revive_history(
        &mut self,
        wanted: &DeliveryFilter,
        mut progress: Progress,
        history: &mut History<'_>,
        now: i64,
    ) -> rusqlite::Result<Progress> {
        for n in progress.step(self.conn, wanted, Swept::HISTORY)? {
            let Some((seq, attempts)) = history.revive(n, now)? else {
                continue;
            };
            for attempt in &attempts {
                self.write_record(seq, attempt)?;
            }
            progress.done += 1;
        }
        Ok(progress)
    }

    /// Forgets some that wait.
    pub(crate) fn cancel(
        &mut self,
        wanted: &DeliveryFilter,
        mut progress: Progress,
    ) -> rusqlite::Result<Progress> {
        for seq in progress.step(self.conn, wanted, Swept::WAITING)? {
            if self.damaged.holds(seq) {
                continue;
            }
            let cancelled = self.cancel_one(seq);
            progress.done += self.damaged.note(seq, cancelled)?;
        }
        Ok(progress)
    }

    fn cancel_one(&mut self, seq: i64) -> rusqlite::Result<usize> {
        let cancelled = self.cancel.execute([seq])?;
        self.forget_payload.execute([seq])?;
        self.forget_attempts.execute([seq])?;
        Ok(cancelled)
    }

    fn write_record(&mut self, seq: i64, record: &AttemptRecord) -> rusqlite::Result<()> {
        let outcome = OutcomeColumns::from(record.outcome);
        let took = i64::try_from(record.took.as_micros()).unwrap_or(i64::MAX);
        self.record.execute(params![
            seq,
            record.attempt,
            to_ms(record.at),
            took,
            outcome.status,
            outcome.retry_after,
            outcome.error,
        ])?;
        Ok(())
    }
}
