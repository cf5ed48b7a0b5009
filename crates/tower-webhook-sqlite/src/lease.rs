use bytes::Bytes;
use http::StatusCode;
use rusqlite::{Connection, Row, Statement, params};
use tower_webhook::{
    DeliveryId, Payload, RequestId,
    endpoint::Host,
    event::FailReason,
    outbox::{Envelope, LeasedDelivery, StoredDelivery},
};

use crate::{clock::from_ms, damaged::DamagedRows, owner::Owner};

/// Leases what was chosen, and reads it.
pub(crate) struct LeaseRows<'c> {
    lease: Statement<'c>,
    read: Statement<'c>,
    bury: Statement<'c>,
    /// Those that could not be read are leased no more.
    pub(crate) damaged: DamagedRows,
}

impl<'c> LeaseRows<'c> {
    pub(crate) fn new(conn: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            lease: conn.prepare(
                "UPDATE delivery SET state = 'leased', owner = ?2, token = ?3, run = 0
                 WHERE seq = ?1",
            )?,
            read: conn.prepare(
                "SELECT id, request_id, host, status, envelope, attempt, body, accepted_at,
                     failure
                 FROM delivery LEFT JOIN payload USING (seq) WHERE seq = ?1",
            )?,
            bury: conn.prepare(
                "UPDATE delivery SET state = 'dead', owner = NULL, token = NULL, died_at = ?2,
                     reason = ?3 WHERE seq = ?1",
            )?,
            damaged: DamagedRows::default(),
        })
    }

    /// `None` for a row of which it cannot even be said what it is: it is dead then.
    pub(crate) fn run(
        &mut self,
        seq: i64,
        owner: &mut Owner<'_>,
        now: i64,
    ) -> rusqlite::Result<Option<LeasedDelivery>> {
        let leased = self.lease(seq, owner);
        let leased = self.damaged.note(seq, leased)?;
        if leased.is_none() {
            tracing::error!(
                seq,
                "a row of the SQLite outbox was changed: it is not sent"
            );
            self.bury
                .execute(params![seq, now, "its row was changed"])?;
        }
        Ok(leased)
    }

    pub(crate) fn bury(&mut self, seq: i64, now: i64) -> rusqlite::Result<()> {
        self.bury
            .execute(params![seq, now, "its row cannot be read"])?;
        // Should it be delivered again, its payload may have been mended.
        self.damaged.let_go(seq);
        Ok(())
    }

    fn lease(
        &mut self,
        seq: i64,
        owner: &mut Owner<'_>,
    ) -> rusqlite::Result<Option<LeasedDelivery>> {
        let Some((attempt, stored)) = self.read.query_row([seq], stored)? else {
            return Ok(None);
        };
        let lease = owner.fetched_lease(stored.id);
        self.lease
            .execute(params![seq, owner.id(), lease.token as i64])?;
        Ok(Some(LeasedDelivery::new(lease, attempt, stored)))
    }
}

/// Nothing that is read is trusted: what is sent is in the envelope, which is judged elsewhere. A
/// value of another type is no reason to fail: the row is then unreadable, not the file.
fn stored(row: &Row<'_>) -> rusqlite::Result<Option<(u32, StoredDelivery)>> {
    let text = |index| -> rusqlite::Result<Option<&str>> {
        let value = row.get_ref(index)?;
        Ok(value.as_str().ok())
    };
    let bytes = |index| -> rusqlite::Result<Option<Bytes>> {
        let value = row.get_ref(index)?;
        Ok(value.as_bytes().ok().map(Bytes::copy_from_slice))
    };
    let number =
        |index| -> rusqlite::Result<i64> { Ok(row.get_ref(index)?.as_i64().unwrap_or(-1)) };
    // In another spelling it would never be found again by its id.
    let id = text(0)?.and_then(|text| DeliveryId::parse(text).filter(|id| id.to_string() == text));
    let Some(id) = id else {
        return Ok(None);
    };
    let request_id = text(1)?.and_then(RequestId::parse);
    let status = u16::try_from(number(3)?).ok();
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    let failure = text(8)?.and_then(FailReason::from_name);
    let mut stored = StoredDelivery::new(
        id,
        request_id.unwrap_or_else(|| id.into()),
        Host::from(text(2)?.unwrap_or_default()),
        status,
        from_ms(number(7)?),
        Envelope::from_bytes(bytes(4)?.unwrap_or_default()),
        Payload::from(bytes(6)?.unwrap_or_default()),
    );
    stored.failure = failure;
    let attempt = u32::try_from(number(5)?).unwrap_or(1).max(1);
    Ok(Some((attempt, stored)))
}
