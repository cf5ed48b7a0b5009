use rusqlite::{Connection, Statement, ToSql, params};

use super::{
    clock::{duration_to_ms, to_ms},
    command::{ClaimId, Settle},
    filter,
    text::OutcomeColumns,
};
use crate::{
    RequestId,
    outbox::{AttemptRecord, DeliveryFilter, DeliveryState, Verdict},
};

/// Changes where deliveries stand.
pub(super) struct Change<'c> {
    conn: &'c Connection,
    forget: Statement<'c>,
    forget_payload: Statement<'c>,
    forget_attempts: Statement<'c>,
    again: Statement<'c>,
    die: Statement<'c>,
    record: Statement<'c>,
    release: Statement<'c>,
    revive: Statement<'c>,
}

impl<'c> Change<'c> {
    pub(super) fn new(conn: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            conn,
            // Whoever has it claimed by now: the endpoint has it. The id, as a number is used
            // again once its row is gone.
            forget: conn.prepare("DELETE FROM delivery WHERE seq = ?1 AND id = ?2")?,
            forget_payload: conn.prepare("DELETE FROM payload WHERE seq = ?1")?,
            forget_attempts: conn.prepare("DELETE FROM attempt WHERE delivery = ?1")?,
            again: conn.prepare(
                "UPDATE delivery SET state = 'waiting', owner = NULL, attempt = attempt + 1,
                     due_at = ?3, delay = ?4
                 WHERE seq = ?1 AND owner = ?2 AND state = 'claimed'",
            )?,
            die: conn.prepare(
                "UPDATE delivery SET state = 'dead', owner = NULL, died_at = ?3, reason = ?4
                 WHERE seq = ?1 AND owner = ?2 AND state = 'claimed'",
            )?,
            record: conn.prepare(
                "INSERT INTO attempt (delivery, attempt, started_at, took_us, status,
                     retry_after, error)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?,
            release: conn.prepare(
                "UPDATE delivery SET state = 'waiting', owner = NULL
                 WHERE seq = ?1 AND owner = ?2 AND state = 'claimed'",
            )?,
            revive: conn.prepare(
                "UPDATE delivery SET state = 'waiting', attempt = 1, due_at = ?2, delay = 0,
                     died_at = NULL, reason = NULL
                 WHERE seq = ?1 AND state = 'dead'",
            )?,
        })
    }

    /// Whether the claim still held.
    pub(super) fn settle(&mut self, settle: &Settle, now: i64) -> rusqlite::Result<bool> {
        let ClaimId { seq, owner } = settle.claim;
        let changed = match settle.verdict {
            Verdict::Delivered => {
                self.forget(seq, settle.id.as_ref())?;
                return Ok(true);
            }
            Verdict::AgainIn(delay) => {
                let delay = duration_to_ms(delay);
                let columns = params![seq, owner, now.saturating_add(delay), delay];
                self.again.execute(columns)?
            }
            Verdict::Dead(last) => {
                let reason = match settle.reason {
                    Some(reason) => reason.to_owned(),
                    None => last.to_string(),
                };
                self.die.execute(params![seq, owner, now, reason])?
            }
        };
        if changed > 0 {
            self.write_record(seq, &settle.record)?;
        }
        Ok(changed > 0)
    }

    pub(super) fn release(&mut self, claim: ClaimId) -> rusqlite::Result<()> {
        self.release.execute([claim.seq, claim.owner]).map(|_| ())
    }

    /// Makes dead letters due, the oldest first, and says how many.
    pub(super) fn revive(&mut self, wanted: &DeliveryFilter, now: i64) -> rusqlite::Result<usize> {
        if wanted.state() == Some(DeliveryState::Waiting) {
            return Ok(0);
        }
        let dead = wanted.clone().with_state(DeliveryState::Dead);
        let (condition, values) = filter::to_sql(&dead);
        let mut statement = self.conn.prepare(&format!(
            "SELECT seq FROM delivery WHERE {condition} ORDER BY seq LIMIT ?"
        ))?;
        let values = values.iter().map(|value| &**value as &dyn ToSql);
        let seqs = statement.query_map(rusqlite::params_from_iter(values), |row| row.get(0))?;
        let mut revived = 0;
        for seq in seqs.collect::<Result<Vec<i64>, _>>()? {
            revived += self.revive.execute([seq, now])?;
        }
        Ok(revived)
    }

    pub(super) fn forget(&mut self, seq: i64, id: Option<&RequestId>) -> rusqlite::Result<()> {
        let id = id.map(RequestId::as_str);
        if self.forget.execute(params![seq, id])? > 0 {
            self.forget_payload.execute([seq])?;
            self.forget_attempts.execute([seq])?;
        }
        Ok(())
    }

    fn write_record(&mut self, seq: i64, record: &AttemptRecord) -> rusqlite::Result<()> {
        let outcome = OutcomeColumns::from(record.outcome);
        let took = i64::try_from(record.took.as_micros()).unwrap_or(i64::MAX);
        self.record
            .execute(params![
                seq,
                record.attempt,
                to_ms(record.at),
                took,
                outcome.status,
                outcome.retry_after,
                outcome.error,
            ])
            .map(|_| ())
    }
}
