//! Reading for people: on a thread and a connection of its own, so that however long a list is,
//! nothing else waits for it.

use std::{thread, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use tokio::sync::oneshot;
use tower_webhook::{
    BoxError, DeliveryId, Payload, RequestId,
    endpoint::Host,
    outbox::{AttemptRecord, DeliveryFilter, DeliveryRecord, DeliveryState, Page},
};

use crate::{
    SqliteOutbox, SqliteOutboxError, SqliteOutboxErrorKind, clock::from_ms, filter, schema,
    text::outcome_from,
};

impl SqliteOutbox {
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, BoxError> {
        let (reply, answer) = oneshot::channel();
        let (files, lock_timeout) = (self.files.clone(), self.lock_timeout);
        thread::Builder::new()
            .name("webhook-read".to_owned())
            .spawn(move || {
                let found = files.check_database().and_then(|()| {
                    let conn = schema::connect(files.database(), lock_timeout)?;
                    Ok(read(&conn)?)
                });
                let _ = reply.send(found);
            })?;
        let gone = |_| SqliteOutboxError::from(SqliteOutboxErrorKind::Gone);
        Ok(answer.await.map_err(gone)??)
    }
}

pub(crate) fn list(
    conn: &Connection,
    filter: &DeliveryFilter,
    page: Page,
) -> rusqlite::Result<Vec<DeliveryRecord>> {
    // One view of the file for both tables.
    let view = conn.unchecked_transaction()?;
    let (mut condition, mut values) = filter::to_sql(filter);
    if let Some(before) = page.before() {
        condition.push_str(" AND id < ?");
        values.push(Box::new(before.to_string()));
    }
    values.push(Box::new(i64::try_from(page.at_most()).unwrap_or(i64::MAX)));
    let mut deliveries = view.prepare(&format!(
        "SELECT seq, id, request_id, host, status, payload_len, accepted_at, state
         FROM delivery WHERE {condition} ORDER BY id DESC LIMIT ?"
    ))?;
    let mut attempts = view.prepare(
        "SELECT attempt, started_at, took_us, status, retry_after, error
         FROM attempt WHERE delivery = ?1 ORDER BY rowid",
    )?;
    let mut rows = deliveries.query(params_from_iter(values))?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        let Some(mut record) = record(row)? else {
            tracing::warn!("a row of the SQLite outbox cannot be read, and is not listed");
            continue;
        };
        let of_it = attempts.query_map([row.get::<_, i64>(0)?], attempt)?;
        record.attempts = of_it.collect::<Result<_, _>>()?;
        records.push(record);
    }
    Ok(records)
}

pub(crate) fn payload(conn: &Connection, id: DeliveryId) -> rusqlite::Result<Option<Payload>> {
    let found: Option<Vec<u8>> = conn
        .query_row(
            "SELECT body FROM payload JOIN delivery USING (seq) WHERE id = ?1",
            [id.to_string()],
            |row| row.get(0),
        )
        .optional()?;
    Ok(found.map(|body| Bytes::from(body).into()))
}

fn record(row: &Row<'_>) -> rusqlite::Result<Option<DeliveryRecord>> {
    let text = |index| -> rusqlite::Result<Option<&str>> {
        let value = row.get_ref(index)?;
        Ok(value.as_str().ok())
    };
    let number =
        |index| -> rusqlite::Result<i64> { Ok(row.get_ref(index)?.as_i64().unwrap_or(-1)) };
    let status = u16::try_from(number(4)?).ok();
    let (Some(id), Some(request_id), Some(host)) = (
        text(1)?.and_then(DeliveryId::parse),
        text(2)?.and_then(RequestId::parse),
        text(3)?.map(Host::from),
    ) else {
        return Ok(None);
    };
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    let len = usize::try_from(number(5)?).unwrap_or(0);
    let accepted_at = from_ms(number(6)?);
    let mut record = DeliveryRecord::new(id, request_id, host, status, len, accepted_at);
    if text(7)? == Some("dead") {
        record.state = DeliveryState::Dead;
    }
    Ok(Some(record))
}

/// Whoever can write the file can make any value of it.
fn attempt(row: &Row<'_>) -> rusqlite::Result<AttemptRecord> {
    let number = |index| -> rusqlite::Result<Option<i64>> {
        Ok(row.get_ref(index)?.as_i64_or_null().ok().flatten())
    };
    let error = row.get_ref(5)?.as_str_or_null().ok().flatten();
    let took = u64::try_from(number(2)?.unwrap_or(0)).unwrap_or(0);
    Ok(AttemptRecord::new(
        u32::try_from(number(0)?.unwrap_or(0)).unwrap_or(0),
        from_ms(number(1)?.unwrap_or(0)),
        Duration::from_micros(took),
        outcome_from(number(3)?, number(4)?, error),
    ))
}
