use rusqlite::{Connection, Statement, params};

use super::command::Accept;
use crate::Delivery;

/// Writes new deliveries.
pub(super) struct Insert<'c> {
    conn: &'c Connection,
    delivery: Statement<'c>,
    payload: Statement<'c>,
    zeros: Statement<'c>,
}

impl<'c> Insert<'c> {
    pub(super) fn new(conn: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            conn,
            delivery: conn.prepare(
                "INSERT INTO delivery (id, state, host, endpoint, status, headers, secret,
                     secret_key, payload_len, accepted_at, due_at)
                 VALUES (?1, 'waiting', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9)",
            )?,
            payload: conn.prepare("INSERT INTO payload (seq, body) VALUES (?1, ?2)")?,
            zeros: conn.prepare("INSERT INTO payload (seq, body) VALUES (?1, zeroblob(?2))")?,
        })
    }

    /// Gives the row's number.
    pub(super) fn run(&mut self, accept: &Accept, now: i64) -> rusqlite::Result<i64> {
        let delivery = &accept.delivery;
        let secret = accept.secret.as_ref();
        self.delivery.execute(params![
            delivery.id().as_str(),
            delivery.endpoint().host(),
            accept.endpoint,
            delivery.status().as_u16(),
            accept.headers,
            secret.map(|(sealed, _)| sealed),
            secret.map(|(_, key)| key),
            length(delivery),
            now,
        ])?;
        let seq = self.conn.last_insert_rowid();
        self.write_payload(accept, seq)?;
        Ok(seq)
    }

    /// One segment is bound as it is; several are written one after another, never joined.
    fn write_payload(&mut self, accept: &Accept, seq: i64) -> rusqlite::Result<()> {
        let payload = accept.delivery.payload();
        let mut segments = payload.segments();
        let first = segments.next().unwrap_or_default();
        if first.len() == payload.len() {
            self.payload.execute(params![seq, first])?;
            return Ok(());
        }
        let len = length(&accept.delivery);
        self.zeros.execute([seq, len])?;
        let mut blob = self.conn.blob_open("main", "payload", "body", seq, false)?;
        let mut at = 0;
        for segment in payload.segments() {
            blob.write_at(segment, at)?;
            at += segment.len();
        }
        blob.close()
    }
}

/// What SQLite cannot keep, it refuses as too large.
fn length(delivery: &Delivery) -> i64 {
    i64::try_from(delivery.payload().len()).unwrap_or(i64::MAX)
}
