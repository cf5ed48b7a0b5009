//! Reading for people: on a thread and a connection of its own, so that however long a list is,
//! nothing but other lists waits for it.

use std::{
    cmp::Reverse,
    thread,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::StatusCode;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter, types::ValueRef};
use tokio::sync::oneshot;
use tower_webhook::{
    BoxError, DeliveryId, Payload, RequestId,
    endpoint::Host,
    event::FailReason,
    outbox::{AttemptRecord, DeliveryFilter, DeliveryRecord, DeliveryState, Envelope, Page},
};

use crate::{
    SqliteOutbox, SqliteOutboxError, SqliteOutboxErrorKind,
    clock::from_ms,
    filter,
    parts::{self, Part},
    read_permits::ReadKind,
    schema,
    text::outcome_from,
};

impl SqliteOutbox {
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        kind: ReadKind,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, BoxError> {
        let permit = self.read_permits.take(kind).await?;
        let (reply, answer) = oneshot::channel();
        let (files, lock_timeout) = (self.files.clone(), self.lock_timeout);
        thread::Builder::new()
            .name("webhook-read".to_owned())
            .spawn(move || {
                let found = files.check_database().and_then(|()| {
                    let conn = schema::connect(files.database(), lock_timeout)?;
                    Ok(read(&conn)?)
                });
                drop(permit);
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
    // One view of the file for all tables.
    let view = conn.unchecked_transaction()?;
    let mut records = Vec::new();
    for Part { index, condition } in parts::of_deliveries(&view, filter)? {
        let table = match index {
            Some(index) => format!("delivery INDEXED BY {index}"),
            None => "delivery".to_owned(),
        };
        records.extend(read_page(
            &view,
            &table,
            "state, run, seq",
            condition,
            page,
        )?);
    }
    let ended = filter::of_history(filter);
    let columns = "'ended', 0, attempts";
    records.extend(read_page(&view, "history", columns, ended, page)?);
    records.sort_by_key(|record| Reverse(record.id));
    // What was delivered twice is listed once, as the last time.
    records.dedup_by_key(|record| record.id);
    records.truncate(page.at_most());
    Ok(records)
}

fn read_page(
    conn: &Connection,
    table: &str,
    columns: &str,
    (mut condition, mut values): filter::Condition,
    page: Page,
) -> rusqlite::Result<Vec<DeliveryRecord>> {
    if let Some(before) = page.before() {
        condition.push_str(" AND id < ?");
        values.push(Box::new(before.to_string()));
    }
    values.push(Box::new(i64::try_from(page.at_most()).unwrap_or(i64::MAX)));
    let mut rows = conn.prepare(&format!(
        "SELECT id, coalesce(request_id, id), host, status, payload_len, accepted_at, failure,
             envelope, {columns}
         FROM {table} WHERE {condition} ORDER BY id DESC, rowid DESC LIMIT ?"
    ))?;
    let mut attempts = conn.prepare(
        "SELECT attempt, started_at, took_us, status, retry_after, error
         FROM attempt WHERE delivery = ?1 ORDER BY rowid",
    )?;
    let mut rows = rows.query(params_from_iter(values))?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        let Some(mut record) = record(row)? else {
            tracing::warn!("a row of the SQLite outbox cannot be read, and is not listed");
            continue;
        };
        record.attempts = match row.get_ref(10)? {
            ValueRef::Integer(seq) => {
                let of_it = attempts.query_map([seq], attempt)?;
                of_it.collect::<Result<_, _>>()?
            }
            text => AttemptRecord::from_text(text.as_str().unwrap_or_default()),
        };
        records.push(record);
    }
    Ok(records)
}

/// For how long the oldest has been due, of those that are leased to nobody.
pub(crate) fn oldest_due(conn: &Connection) -> rusqlite::Result<Option<Duration>> {
    let oldest: Option<i64> = conn
        .query_row(
            "SELECT due_at FROM delivery INDEXED BY delivery_due
             WHERE state = 'waiting' ORDER BY due_at LIMIT 1",
            [],
            |row| row.get(0),
        )
        .optional()?;
    Ok(oldest.and_then(|due| SystemTime::now().duration_since(from_ms(due)).ok()))
}

pub(crate) fn payload(conn: &Connection, id: DeliveryId) -> rusqlite::Result<Option<Payload>> {
    let id = id.to_string();
    let read = |sql| -> rusqlite::Result<Option<Vec<u8>>> {
        let found = conn.query_row(sql, [&id], |row| row.get(0)).optional()?;
        Ok(found.flatten())
    };
    let mut found = read("SELECT body FROM payload JOIN delivery USING (seq) WHERE id = ?1")?;
    if found.is_none() {
        found = read("SELECT body FROM history WHERE id = ?1 ORDER BY n DESC LIMIT 1")?;
    }
    Ok(found.map(|body| Bytes::from(body).into()))
}

fn record(row: &Row<'_>) -> rusqlite::Result<Option<DeliveryRecord>> {
    let text = |index| -> rusqlite::Result<Option<&str>> {
        let value = row.get_ref(index)?;
        Ok(value.as_str().ok())
    };
    let number =
        |index| -> rusqlite::Result<i64> { Ok(row.get_ref(index)?.as_i64().unwrap_or(-1)) };
    let status = u16::try_from(number(3)?).ok();
    let (Some(id), Some(request_id), Some(host)) = (
        text(0)?.and_then(DeliveryId::parse),
        text(1)?.and_then(RequestId::parse),
        text(2)?.map(Host::from),
    ) else {
        return Ok(None);
    };
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    let len = usize::try_from(number(4)?).unwrap_or(0);
    let accepted_at = from_ms(number(5)?);
    let envelope = row.get_ref(7)?.as_bytes().unwrap_or_default();
    let envelope = Envelope::from_bytes(Bytes::copy_from_slice(envelope));
    let record = DeliveryRecord::new(id, request_id, host, status, len, accepted_at);
    let mut record = record.with_envelope(envelope);
    record.failure = text(6)?.and_then(FailReason::from_name);
    record.state = match (text(8)?, number(9)?) {
        (Some("dead"), _) => DeliveryState::Dead,
        (Some("leased"), 1) => DeliveryState::Running,
        (Some("ended"), _) if record.failure.is_some() => DeliveryState::Failed,
        (Some("ended"), _) => DeliveryState::Delivered,
        _ => DeliveryState::Waiting,
    };
    if record.state == DeliveryState::Running {
        // What its endpoint would be told is not so yet.
        record.failure = None;
    }
    Ok(Some(record))
}

/// Whoever can write the file can make any value of it.
pub(crate) fn attempt(row: &Row<'_>) -> rusqlite::Result<AttemptRecord> {
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
