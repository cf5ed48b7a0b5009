use rusqlite::{Connection, OptionalExtension, Statement, params};
use tower_webhook::outbox::{Lease, NewDelivery, StoredDelivery};

use crate::{clock::to_ms, owner::Owner};

/// Writes new deliveries.
pub(crate) struct Insert<'c> {
    conn: &'c Connection,
    delivery: Statement<'c>,
    payload: Statement<'c>,
    zeros: Statement<'c>,
    lease_known: Statement<'c>,
}

impl<'c> Insert<'c> {
    pub(crate) fn new(conn: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            conn,
            delivery: conn.prepare(
                "INSERT INTO delivery (id, request_id, state, host, status, envelope, key,
                     payload_len, accepted_at, due_at, owner, token)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
                 ON CONFLICT DO NOTHING",
            )?,
            payload: conn.prepare("INSERT INTO payload (seq, body) VALUES (?1, ?2)")?,
            zeros: conn.prepare("INSERT INTO payload (seq, body) VALUES (?1, zeroblob(?2))")?,
            lease_known: conn.prepare(
                "UPDATE delivery SET state = 'leased', owner = ?2, token = ?3
                 WHERE id = ?1 AND (state = 'waiting' OR state = 'leased' AND owner = ?2)
                 RETURNING seq",
            )?,
        })
    }

    /// Gives the lease that was asked for.
    pub(crate) fn run(
        &mut self,
        new: &NewDelivery,
        owner: &mut Owner<'_>,
        now: i64,
    ) -> rusqlite::Result<Option<Lease>> {
        let NewDelivery { stored, lease, .. } = new;
        let lease = lease.then(|| owner.new_lease(stored.id));
        let (state, owner_id) = match lease {
            Some(_) => ("leased", Some(owner.id())),
            None => ("waiting", None),
        };
        let id = stored.id.to_string();
        let token = lease.map(|lease| lease.token as i64);
        let envelope = stored.envelope.bytes();
        let inserted = self.delivery.execute(params![
            id,
            stored.request_id.as_str(),
            state,
            stored.host.as_str(),
            // 0 where there was no response.
            stored.status.map_or(0, |status| status.as_u16()),
            envelope.map_or(&[][..], |bytes| bytes),
            stored.envelope.key_name(),
            length(stored),
            to_ms(stored.accepted_at),
            now,
            owner_id,
            token,
        ])?;
        if inserted > 0 {
            let seq = self.conn.last_insert_rowid();
            self.write_payload(stored, seq)?;
            return Ok(lease);
        }
        // It is there already: nobody knew whether it was.
        let Some(lease) = lease else { return Ok(None) };
        let leased: Option<i64> = self
            .lease_known
            .query_row(params![id, owner_id, token], |row| row.get(0))
            .optional()?;
        Ok(leased.map(|_seq| lease))
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

/// What SQLite cannot keep, it refuses as too large.
fn length(stored: &StoredDelivery) -> i64 {
    i64::try_from(stored.payload.len()).unwrap_or(i64::MAX)
}
