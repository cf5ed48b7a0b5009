use std::{fmt, path::PathBuf, sync::Arc, thread, time::Duration};

use rusqlite::{Connection, Row, params_from_iter};
use tokio::sync::oneshot;

use super::{
    SqliteOutboxError,
    clock::from_ms,
    command::{Command, Handle, Redeliver},
    error::gone,
    filter, schema,
    text::{endpoint_from_text, outcome_from, status_from},
};
use crate::{
    BoxError, RequestId,
    outbox::{AttemptRecord, DeliveryFilter, DeliveryRecord, DeliveryState, Ledger},
};

/// Lists what waits and what is dead, and makes dead letters due again.
pub struct SqliteLedger {
    handle: Handle,
    path: Arc<PathBuf>,
    busy_timeout: Duration,
}

impl SqliteLedger {
    pub(super) fn new(handle: Handle, path: Arc<PathBuf>, busy_timeout: Duration) -> Self {
        Self {
            handle,
            path,
            busy_timeout,
        }
    }
}

impl Ledger for SqliteLedger {
    /// On a thread and a connection of its own: however long the list, nothing else waits for it.
    async fn deliveries(&self, filter: &DeliveryFilter) -> Result<Vec<DeliveryRecord>, BoxError> {
        let (reply, answer) = oneshot::channel();
        let (filter, path) = (filter.clone(), Arc::clone(&self.path));
        let busy_timeout = self.busy_timeout;
        thread::Builder::new()
            .name("webhook-ledger".to_owned())
            .spawn(move || {
                let conn = schema::connect(&path, busy_timeout);
                let _ = reply.send(conn.and_then(|conn| list(&conn, &filter)));
            })?;
        let listed = answer.await.map_err(|_| gone())?;
        Ok(listed.map_err(SqliteOutboxError::from)?)
    }

    async fn redeliver(&self, filter: &DeliveryFilter) -> Result<usize, BoxError> {
        let (reply, answer) = oneshot::channel();
        self.handle.send(Command::Redeliver(Redeliver {
            filter: filter.clone(),
            reply,
        }))?;
        Ok(answer.await.map_err(|_| gone())??)
    }
}

fn list(conn: &Connection, filter: &DeliveryFilter) -> rusqlite::Result<Vec<DeliveryRecord>> {
    // One view of the file for both tables.
    let view = conn.unchecked_transaction()?;
    let (condition, values) = filter::to_sql(filter);
    let mut deliveries = view.prepare(&format!(
        "SELECT seq, id, endpoint, status, payload_len, accepted_at, state
         FROM delivery WHERE {condition} ORDER BY seq DESC LIMIT ?"
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

fn record(row: &Row<'_>) -> rusqlite::Result<Option<DeliveryRecord>> {
    let text = |index| -> rusqlite::Result<Option<&str>> {
        let value = row.get_ref(index)?;
        Ok(value.as_str().ok())
    };
    let (Some(id), Some(endpoint), Some(status)) = (
        text(1)?.and_then(RequestId::parse),
        text(2)?.and_then(endpoint_from_text),
        status_from(row.get(3)?),
    ) else {
        return Ok(None);
    };
    let len = usize::try_from(row.get::<_, i64>(4)?).unwrap_or(0);
    let mut record = DeliveryRecord::new(id, endpoint, status, len, from_ms(row.get(5)?));
    if text(6)? == Some("dead") {
        record.state = DeliveryState::Dead;
    }
    Ok(Some(record))
}

fn attempt(row: &Row<'_>) -> rusqlite::Result<AttemptRecord> {
    let error: Option<String> = row.get(5)?;
    let took = Duration::from_micros(u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0));
    Ok(AttemptRecord::new(
        row.get(0)?,
        from_ms(row.get(1)?),
        took,
        outcome_from(row.get(3)?, row.get(4)?, error.as_deref()),
    ))
}

impl fmt::Debug for SqliteLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteLedger").finish_non_exhaustive()
    }
}
