//! Administrative reads: list and payload.

use std::time::Duration;

use bytes::Bytes;
use tokio_postgres::{Row, types::Type};
use tower_webhook::{
    DeliveryId, Payload, RequestId,
    endpoint::Host,
    outbox::{AttemptRecord, DeliveryFilter, DeliveryRecord, DeliveryState, Envelope, Page},
};

use crate::{
    PostgresOutboxError,
    filter::Condition,
    migrations::first,
    parts,
    transaction::{Mode, Param, Statement, Transactions},
    value::{SqlId, failure_from, status_from, time_from, to_i64},
};

/// One page of the list.
pub(crate) struct ListQuery {
    pub(crate) sql: String,
    most: i64,
    before: Option<SqlId>,
    deliveries: Condition,
    history: Condition,
}

impl ListQuery {
    /// Reads both tables with one statement, so that a delivery that moves between them is seen exactly once.
    pub(crate) fn new(filter: &DeliveryFilter, page: Page) -> Self {
        let most = to_i64(page.at_most());
        let before = page.before().map(SqlId);
        let deliveries = Condition::of_any_state(filter, 3);
        let history = Condition::of_history(filter, 3 + deliveries.len());
        let page = match before {
            Some(_) => "id < $2",
            None => "$2::uuid IS NULL",
        };
        let columns = "id, request_id, host, status, failure, payload_len, accepted_at, attempts";
        let of_deliveries: String = parts::of_deliveries(filter)
            .iter()
            .map(|part| {
                let rows = part.rows(&format!("{} AND {page}", deliveries.sql));
                format!(
                    "(SELECT {columns}, state, run, NULL::bytea AS envelope
                      FROM {rows} ORDER BY id DESC LIMIT $1) UNION ALL "
                )
            })
            .collect();
        let sql = format!(
            "SELECT {columns}, state, run, coalesce(envelope,
                 CASE WHEN state <> 'ended' THEN (SELECT envelope FROM payload WHERE id = r.id) END)
             FROM (
                 SELECT * FROM (
                     {of_deliveries}
                     (SELECT {columns}, 'ended' AS state, false AS run, envelope
                      FROM history WHERE {} AND {page} ORDER BY id DESC LIMIT $1)
                 ) AS all_parts ORDER BY id DESC, state = 'ended' LIMIT $1
             ) AS r ORDER BY id DESC, state = 'ended'",
            history.sql
        );
        Self {
            sql,
            most,
            before,
            deliveries,
            history,
        }
    }

    pub(crate) fn params(&self) -> Vec<Param<'_>> {
        let mut params: Vec<Param<'_>> = vec![(&self.most, Type::INT8), (&self.before, Type::UUID)];
        params.extend(self.deliveries.params());
        params.extend(self.history.params());
        params
    }
}

pub(crate) async fn list(
    transactions: &Transactions,
    filter: &DeliveryFilter,
    page: Page,
) -> Result<Vec<DeliveryRecord>, PostgresOutboxError> {
    let query = ListQuery::new(filter, page);
    let listing = Statement::new(&query.sql, query.params());
    let found = transactions.run(Mode::Read, &[listing]).await?;
    let mut records = Vec::new();
    for row in found.iter().flatten() {
        match record(row)? {
            Some(record) => records.push(record),
            None => {
                tracing::warn!("a row of the PostgreSQL outbox cannot be read, and is not listed");
            }
        }
    }
    // An id may be in both tables after a second delivery.
    records.dedup_by_key(|record| record.id);
    Ok(records)
}

/// How long the longest overdue delivery has been due, among those that nobody has leased. By the server's
/// clock, like everything that is due. A row with the time `-infinity` is due, and nobody knows since when.
pub(crate) const OLDEST_DUE: &str = "
    SELECT (extract(epoch FROM now() - due_at) * 1000000)::int8 FROM delivery
    WHERE state = 'waiting' AND due_at <= now() AND due_at > '-infinity' ORDER BY due_at LIMIT 1";

pub(crate) async fn oldest_due(
    transactions: &Transactions,
) -> Result<Option<Duration>, PostgresOutboxError> {
    let oldest = Statement::new(OLDEST_DUE, Vec::new());
    let found = transactions.run(Mode::Look, &[oldest]).await?;
    let micros: Option<i64> = first(&found, 0)?;
    let micros = micros.and_then(|micros| u64::try_from(micros).ok());
    Ok(micros.map(Duration::from_micros))
}

pub(crate) async fn payload(
    transactions: &Transactions,
    id: DeliveryId,
) -> Result<Option<Payload>, PostgresOutboxError> {
    let id = SqlId(id);
    let payload = Statement::new(
        "SELECT body FROM (
            SELECT 0 AS nth, body FROM payload WHERE id = $1
            UNION ALL SELECT 1, body FROM history WHERE id = $1
         ) AS kept WHERE body IS NOT NULL ORDER BY nth LIMIT 1",
        vec![(&id, Type::UUID)],
    );
    let found = transactions.run(Mode::Read, &[payload]).await?;
    let body: Option<&[u8]> = first(&found, 0)?;
    Ok(body.map(|body| Bytes::copy_from_slice(body).into()))
}

/// `None` for a row that this crate did not write.
fn record(row: &Row) -> Result<Option<DeliveryRecord>, PostgresOutboxError> {
    let SqlId(id) = row.try_get(0)?;
    let Some(request_id) = RequestId::parse(row.try_get(1)?) else {
        return Ok(None);
    };
    let host = Host::from(row.try_get::<_, &str>(2)?);
    let len: i64 = row.try_get(5)?;
    let len = usize::try_from(len).unwrap_or(0);
    let accepted_at = time_from(row.try_get(6)?);
    let status = status_from(row.try_get(3)?);
    let record = DeliveryRecord::new(id, request_id, host, status, len, accepted_at);
    let envelope: Option<&[u8]> = row.try_get(10)?;
    let envelope = Bytes::copy_from_slice(envelope.unwrap_or_default());
    let mut record = record.with_envelope(Envelope::from_bytes(envelope));
    record.failure = failure_from(row.try_get(4)?);
    record.attempts = AttemptRecord::from_text(row.try_get(7)?);
    record.state = match (row.try_get::<_, &str>(8)?, row.try_get(9)?) {
        ("dead", _) => DeliveryState::Dead,
        ("leased", true) => DeliveryState::Running,
        ("ended", _) if record.failure.is_some() => DeliveryState::Failed,
        ("ended", _) => DeliveryState::Delivered,
        _ => DeliveryState::Waiting,
    };
    if record.state == DeliveryState::Running {
        // The stored failure is what the endpoint would be told if the process died.
        record.failure = None;
    }
    Ok(Some(record))
}
