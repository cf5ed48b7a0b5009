use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, Statement, params};
use tower_webhook::outbox::AttemptRecord;

use crate::{clock::duration_to_ms, error::is_of_a_row};

/// What has ended and was no dead letter, in a table of its own: what is to be delivered is found as
/// quickly as without it. It is in the order in which it ended, and the oldest go first.
pub(crate) struct History<'c> {
    last: Statement<'c>,
    add: Statement<'c>,
    first_to_stay: Statement<'c>,
    last_looked_at: Statement<'c>,
    remove: Statement<'c>,
    revive: [Statement<'c>; 4],
    bounds: HistoryBounds,
    has_grown: bool,
    next_look: Instant,
    /// Until when it is done without, as it cannot be read or written.
    damaged_until: Option<Instant>,
    is_newly_damaged: bool,
}

#[derive(Clone, Copy)]
pub(crate) struct HistoryBounds {
    pub(crate) number: usize,
    pub(crate) bytes: u64,
    pub(crate) time: Duration,
    pub(crate) keeps_payloads: bool,
}

/// What is to become of a row of the delivery table.
pub(crate) struct Ending<'a> {
    pub(crate) seq: i64,
    /// Why its run has failed.
    pub(crate) failure: Option<&'static str>,
    pub(crate) attempts: &'a [AttemptRecord],
    pub(crate) has_payload: bool,
}

/// The most that are removed at once.
const AT_ONCE: i64 = 256;
/// A row holds no more than 1 GB, with all that is in it.
const LARGEST_PAYLOAD: u64 = 900_000_000;
/// How often it is looked for what was kept long enough, and for how long it is done without after a row
/// could not be written.
const EVERY: Duration = Duration::from_secs(60);

impl<'c> History<'c> {
    pub(crate) fn new(conn: &'c Connection, bounds: HistoryBounds) -> rusqlite::Result<Self> {
        let oldest = format!(
            "(SELECT n, ended_at,
                 upto - length(envelope) - length(attempts) - coalesce(length(body), 0) AS before
             FROM history ORDER BY n LIMIT {AT_ONCE})"
        );
        Ok(Self {
            last: conn.prepare("SELECT n, upto FROM history ORDER BY n DESC LIMIT 1")?,
            add: conn.prepare(
                "INSERT INTO history (id, request_id, host, status, failure, envelope, key,
                     payload_len, accepted_at, ended_at, attempts, body, upto)
                 SELECT id, nullif(request_id, id), host, status, coalesce(?2, failure), envelope,
                     key, payload_len, accepted_at, ?3, ?4, body,
                     ?6 + length(envelope) + length(?4) + coalesce(length(body), 0)
                 FROM (SELECT id, request_id, host, status, failure, key, payload_len, accepted_at,
                           CASE WHEN key IS NOT NULL OR ?5 THEN envelope ELSE x'' END AS envelope,
                           CASE WHEN ?5 THEN (SELECT body FROM payload WHERE seq = ?1) END AS body
                       FROM delivery WHERE seq = ?1)",
            )?,
            first_to_stay: conn.prepare(&format!(
                "SELECT n FROM {oldest} WHERE n > ?1 AND before >= ?2 AND ended_at > ?3
                 ORDER BY n LIMIT 1"
            ))?,
            last_looked_at: conn.prepare(&format!("SELECT max(n) FROM {oldest}"))?,
            remove: conn.prepare("DELETE FROM history WHERE n < ?1")?,
            revive: [
                conn.prepare(
                    "INSERT INTO delivery (id, request_id, state, host, status, failure, envelope,
                         key, payload_len, accepted_at, due_at)
                     SELECT id, coalesce(request_id, id), 'waiting', host, status, failure,
                         envelope, key, payload_len, accepted_at, ?2
                     FROM history WHERE n = ?1 AND body IS NOT NULL
                     ON CONFLICT DO NOTHING RETURNING seq",
                )?,
                conn.prepare(
                    "INSERT INTO payload (seq, body) SELECT ?2, body FROM history WHERE n = ?1",
                )?,
                conn.prepare("SELECT attempts FROM history WHERE n = ?1")?,
                conn.prepare("DELETE FROM history WHERE n = ?1")?,
            ],
            bounds,
            has_grown: false,
            next_look: Instant::now(),
            damaged_until: None,
            is_newly_damaged: false,
        })
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.bounds.number > 0 && !self.is_damaged()
    }

    /// Whether a payload of that length is kept: a larger one would take the place of all others.
    pub(crate) fn keeps_payload(&self, len: i64) -> bool {
        let most = self.bounds.bytes.min(LARGEST_PAYLOAD);
        self.bounds.keeps_payloads && u64::try_from(len).is_ok_and(|len| len <= most)
    }

    fn is_damaged(&self) -> bool {
        let until = self.damaged_until;
        until.is_some_and(|until| Instant::now() < until)
    }

    /// Copies a row that is about to be deleted. What is not sealed has a secret in it: that stays only
    /// where the operator wants what was delivered to be kept whole.
    pub(crate) fn add(&mut self, ending: &Ending<'_>, now: i64) -> rusqlite::Result<()> {
        let added = self.try_to_add(ending, now);
        self.has_grown = true;
        self.note(added)
    }

    fn try_to_add(&mut self, ending: &Ending<'_>, now: i64) -> rusqlite::Result<()> {
        // Not within the statement, which would then make a table of what it inserts first.
        let upto = self.last()?.map_or(0, |(_, upto)| upto);
        let attempts = AttemptRecord::to_text(ending.attempts);
        self.add.execute(params![
            ending.seq,
            ending.failure,
            now,
            attempts,
            ending.has_payload,
            upto,
        ])?;
        Ok(())
    }

    /// Its number, and the bytes of all up to it.
    fn last(&mut self) -> rusqlite::Result<Option<(i64, i64)>> {
        let last = self.last.query_row([], |row| {
            Ok((row.get(0)?, row.get_ref(1)?.as_i64().unwrap_or(0)))
        });
        last.optional()
    }

    /// Whether there may be something to remove.
    pub(crate) fn is_due(&self) -> bool {
        !self.is_damaged() && (self.has_grown || Instant::now() >= self.next_look)
    }

    /// Keeps to the bounds, a step at a time. Says whether there is more to remove.
    pub(crate) fn trim(&mut self, now: i64) -> rusqlite::Result<bool> {
        let HistoryBounds {
            number,
            bytes,
            time,
            ..
        } = self.bounds;
        let below =
            |last: i64, most: u64| last.saturating_sub(i64::try_from(most).unwrap_or(i64::MAX));
        let trimmed = self.last().and_then(|last| match last {
            None => Ok(false),
            Some((n, upto)) => {
                let expired = now.saturating_sub(duration_to_ms(time));
                self.remove_before(below(n, number as u64), below(upto, bytes), expired)
            }
        });
        let has_more = self.note(trimmed)?;
        self.has_grown = has_more;
        if !has_more {
            self.next_look = Instant::now() + EVERY;
        }
        Ok(has_more)
    }

    fn remove_before(&mut self, n: i64, upto: i64, ended_at: i64) -> rusqlite::Result<bool> {
        let stays: Option<i64> = self
            .first_to_stay
            .query_row([n, upto, ended_at], |row| row.get(0))
            .optional()?;
        match stays {
            Some(stays) => self.remove.execute([stays]).map(|_| false),
            None => self.remove_oldest(),
        }
    }

    /// Makes room for something else. Says whether there were any.
    pub(crate) fn evict_some(&mut self) -> rusqlite::Result<bool> {
        if self.is_damaged() {
            return Ok(false);
        }
        let evicted = self.remove_oldest();
        self.note(evicted)
    }

    fn remove_oldest(&mut self) -> rusqlite::Result<bool> {
        let last: Option<i64> = self.last_looked_at.query_row([], |row| row.get(0))?;
        match last {
            Some(last) => Ok(self.remove.execute([last.saturating_add(1)])? > 0),
            None => Ok(false),
        }
    }

    /// Makes one due again whose payload is kept: gives its row, and its attempts so far.
    pub(crate) fn revive(
        &mut self,
        n: i64,
        now: i64,
    ) -> rusqlite::Result<Option<(i64, Vec<AttemptRecord>)>> {
        let [revive, payload, attempts, remove] = &mut self.revive;
        let mut revive = || {
            let seq: Option<i64> = revive.query_row([n, now], |row| row.get(0)).optional()?;
            let Some(seq) = seq else { return Ok(None) };
            payload.execute([n, seq])?;
            let attempts = attempts.query_row([n], |row| {
                Ok(AttemptRecord::from_text(
                    row.get_ref(0)?.as_str().unwrap_or_default(),
                ))
            })?;
            remove.execute([n])?;
            Ok(Some((seq, attempts)))
        };
        let revived = revive();
        self.note(revived)
    }

    /// Whether it was found to be damaged since the last call: what has failed does without it.
    pub(crate) fn take_damaged(&mut self) -> bool {
        std::mem::take(&mut self.is_newly_damaged)
    }

    fn note<T>(&mut self, done: rusqlite::Result<T>) -> rusqlite::Result<T> {
        if let Err(error) = &done
            && is_of_a_row(error)
        {
            tracing::error!(%error, "the SQLite outbox does without its history for a minute");
            self.damaged_until = Some(Instant::now() + EVERY);
            self.is_newly_damaged = true;
        }
        done
    }
}
