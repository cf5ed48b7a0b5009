use rusqlite::{Connection, OptionalExtension, Statement, ToSql, params};
use tower_webhook::{
    event::FailReason,
    outbox::{Lease, NewDelivery, StoredDelivery},
};

use crate::{clock::to_ms, dead_letters::payload_len, owner::Owner};

/// Writes new deliveries.
pub(crate) struct Insert<'c> {
    conn: &'c Connection,
    delivery: Statement<'c>,
    payload: Statement<'c>,
    zeros: Statement<'c>,
    replace: Statement<'c>,
    dead: Statement<'c>,
    forget_payload: Statement<'c>,
    lease_known: Statement<'c>,
}

impl<'c> Insert<'c> {
    pub(crate) fn new(conn: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            conn,
            delivery: conn.prepare(
                "INSERT INTO delivery (id, request_id, state, host, status, envelope, key,
                     payload_len, accepted_at, due_at, owner, token, failure, run)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, iif(?3 = 'leased', ?11, NULL),
                     ?12, ?13, ?14)
                 ON CONFLICT DO NOTHING",
            )?,
            payload: conn.prepare("INSERT INTO payload (seq, body) VALUES (?1, ?2)")?,
            zeros: conn.prepare("INSERT INTO payload (seq, body) VALUES (?1, zeroblob(?2))")?,
            // A run, or the notice that it was interrupted, whoever sends that just now.
            replace: conn.prepare(
                "UPDATE delivery SET request_id = ?2, state = ?3, host = ?4, status = ?5,
                     envelope = ?6, key = ?7, payload_len = ?8, accepted_at = ?9, attempt = 1,
                     due_at = ?10, delay = 0, owner = iif(?3 = 'leased', ?11, NULL), token = ?12,
                     failure = ?13, run = ?14, died_at = NULL, reason = NULL
                 WHERE id = ?1 AND (run = 1 AND state <> 'dead'
                     OR failure = 'interrupted' AND ?13 IS NOT 'interrupted')
                 RETURNING seq",
            )?,
            dead: conn
                .prepare("SELECT payload_len FROM delivery WHERE id = ?1 AND state = 'dead'")?,
            forget_payload: conn.prepare("DELETE FROM payload WHERE seq = ?1")?,
            lease_known: conn.prepare(
                "UPDATE delivery SET state = 'leased', owner = ?2, token = ?3
                 WHERE id = ?1 AND (state = 'waiting' OR state = 'leased' AND owner = ?2 AND token > 0)
                 RETURNING seq",
            )?,
        })
    }

    /// Gives the lease that was asked for. Where a dead letter makes way there are fewer of these.
    pub(crate) fn run(
        &mut self,
        new: &NewDelivery,
        owner: &mut Owner<'_>,
        more_dead: &mut (i64, i64),
        now: i64,
    ) -> rusqlite::Result<Option<Lease>> {
        let NewDelivery { stored, lease, .. } = new;
        let lease = lease.then(|| owner.new_lease(stored.id));
        let row = NewRow {
            stored,
            lease,
            owner: owner.id(),
            now,
            is_run: false,
        };
        if self.write(&row)? {
            return Ok(lease);
        }
        // It is there already: as its run or what is told of that, or nobody knew whether it was.
        let dead = params![stored.id.to_string()];
        let dead = self.dead.query_row(dead, |row| payload_len(row, 0));
        let dead = dead.optional()?;
        let replaced: Option<i64> = row
            .with_params(|params| self.replace.query_row(params, |row| row.get(0)))
            .optional()?;
        if let Some(seq) = replaced {
            if let Some(bytes) = dead {
                more_dead.0 -= 1;
                more_dead.1 -= bytes;
            }
            self.forget_payload.execute([seq])?;
            self.write_payload(stored, seq)?;
            return Ok(lease);
        }
        let Some(lease) = lease else { return Ok(None) };
        let known = params![stored.id.to_string(), row.owner, lease.token as i64];
        let leased: Option<i64> = self
            .lease_known
            .query_row(known, |row| row.get(0))
            .optional()?;
        Ok(leased.map(|_seq| lease))
    }

    /// Writes that a call runs, leased. `None` where its id is there already.
    pub(crate) fn begin(
        &mut self,
        run: &NewDelivery,
        owner: &mut Owner<'_>,
        now: i64,
    ) -> rusqlite::Result<Option<Lease>> {
        let lease = owner.new_lease(run.stored.id);
        let row = NewRow {
            stored: &run.stored,
            lease: Some(lease),
            owner: owner.id(),
            now,
            is_run: true,
        };
        Ok(self.write(&row)?.then_some(lease))
    }

    /// Says whether it was not there yet.
    fn write(&mut self, row: &NewRow<'_>) -> rusqlite::Result<bool> {
        let inserted = row.with_params(|params| self.delivery.execute(params))?;
        if inserted > 0 {
            let seq = self.conn.last_insert_rowid();
            self.write_payload(row.stored, seq)?;
        }
        Ok(inserted > 0)
    }

    /// One segment is bound as it is; several are written one after another, never joined.
    fn write_payload(&mut self, stored: &StoredDelivery, seq: i64) -> rusqlite::Result<()> {
        let mut segments = stored.payload.segments();
        let first = segments.next().unwrap_or_default();
        if first.len() == stored.payload.len() {
            self.payload.execute(params![seq, first])?;
            return Ok(());
        }
        self.zeros.execute([seq, length(stored)])?;
        let mut blob = self.conn.blob_open("main", "payload", "body", seq, false)?;
        let mut at = 0;
        for segment in stored.payload.segments() {
            blob.write_at(segment, at)?;
            at += segment.len();
        }
        blob.close()
    }
}

struct NewRow<'a> {
    stored: &'a StoredDelivery,
    lease: Option<Lease>,
    /// Who writes it, and has it where there is a lease.
    owner: i64,
    now: i64,
    is_run: bool,
}

impl NewRow<'_> {
    /// The values of its columns, in the order of the statements.
    fn with_params<T>(&self, run: impl FnOnce(&[&dyn ToSql]) -> T) -> T {
        let stored = self.stored;
        let state = match self.lease {
            Some(_) => "leased",
            None => "waiting",
        };
        let envelope = stored.envelope.bytes();
        run(params![
            stored.id.to_string(),
            stored.request_id.as_str(),
            state,
            stored.host.as_str(),
            // 0 where there was no response.
            stored.status.map_or(0, |status| status.as_u16()),
            envelope.map_or(&[][..], |bytes| bytes),
            stored.envelope.key_name(),
            length(stored),
            to_ms(stored.accepted_at),
            self.now,
            self.owner,
            self.lease.map(|lease| lease.token as i64),
            stored.failure.map(FailReason::name),
            self.is_run,
        ])
    }
}

/// What SQLite cannot keep, it refuses as too large.
fn length(stored: &StoredDelivery) -> i64 {
    i64::try_from(stored.payload.len()).unwrap_or(i64::MAX)
}
