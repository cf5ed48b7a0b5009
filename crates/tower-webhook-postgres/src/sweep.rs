//! Redeliver and cancel: changes to every delivery that matches a filter, in batches, oldest first.

use tokio_postgres::types::Type;
use tower_webhook::{
    DeliveryId,
    outbox::{DeliveryFilter, DeliveryState},
};

use crate::{
    PostgresOutboxError,
    filter::Condition,
    migrations::first,
    transaction::{Mode, Param, Statement, Transactions},
    value::{SqlId, to_i64},
};

/// A table, the rows of it that may change, and the change, applied to the ids in `meant`. `state || ''` keeps
/// the planner from using a partial index where ids are given.
struct Sweep {
    table: &'static str,
    columns: &'static str,
    is_meant: &'static str,
    change: &'static str,
    condition: fn(&DeliveryFilter, usize) -> Condition,
}

const REVIVE: Sweep = Sweep {
    table: "delivery",
    columns: "id, request_id, state, run, host, accepted_at",
    is_meant: "state || '' = 'dead'",
    change: "UPDATE delivery SET state = 'waiting', attempt = 1, due_at = clock_timestamp(),
                 died_at = NULL, reason = NULL
             WHERE id = ANY (ARRAY (SELECT id FROM meant)) RETURNING id",
    condition: Condition::of_deliveries,
};

const CANCEL: Sweep = Sweep {
    table: "delivery",
    columns: "id, request_id, state, run, host, accepted_at",
    is_meant: "state || '' = 'waiting'",
    change: "DELETE FROM delivery WHERE id = ANY (ARRAY (SELECT id FROM meant)) RETURNING id
         ), bodies AS (
             DELETE FROM payload WHERE id = ANY (ARRAY (SELECT id FROM changed))",
    condition: Condition::of_deliveries,
};

/// Moves history records that have a payload back to the deliveries.
const REVIVE_HISTORY: Sweep = Sweep {
    table: "history",
    columns: "id, request_id, failure, host, accepted_at",
    is_meant: "body IS NOT NULL",
    change: "INSERT INTO delivery (id, request_id, state, host, status, failure, key, payload_len,
                 accepted_at, due_at, attempts)
             SELECT id, request_id, 'waiting', host, status, failure, key, payload_len, accepted_at,
                 clock_timestamp(), attempts
             FROM history WHERE id = ANY (ARRAY (SELECT id FROM meant))
             ON CONFLICT (id) DO NOTHING RETURNING id
         ), bodies AS (
             INSERT INTO payload (id, envelope, body)
             SELECT id, envelope, body FROM history
             WHERE id = ANY (ARRAY (SELECT id FROM changed))
             ON CONFLICT (id) DO UPDATE SET envelope = excluded.envelope, body = excluded.body
         ), moved AS (
             DELETE FROM history WHERE id = ANY (ARRAY (SELECT id FROM changed))",
    condition: Condition::of_history,
};

/// Rows read by one step at most.
const LOOKED_AT: usize = 1_024;

pub(crate) async fn redeliver(
    transactions: &Transactions,
    filter: &DeliveryFilter,
) -> Result<usize, PostgresOutboxError> {
    match filter.state() {
        None | Some(DeliveryState::Dead) => {
            let dead = filter.clone().with_state(DeliveryState::Dead);
            REVIVE.run(transactions, &dead).await
        }
        Some(DeliveryState::Delivered | DeliveryState::Failed) => {
            REVIVE_HISTORY.run(transactions, filter).await
        }
        // These are still to be delivered.
        Some(_) => Ok(0),
    }
}

pub(crate) async fn cancel(
    transactions: &Transactions,
    filter: &DeliveryFilter,
) -> Result<usize, PostgresOutboxError> {
    CANCEL.run(transactions, filter).await
}

impl Sweep {
    /// Applies the change to rows that existed when it started.
    async fn run(
        &self,
        transactions: &Transactions,
        filter: &DeliveryFilter,
    ) -> Result<usize, PostgresOutboxError> {
        let last = match filter.id() {
            Some(id) => Some(SqlId(id)),
            None => self.last(transactions).await?,
        };
        let Some(last) = last else {
            return Ok(0);
        };
        let mut after = SqlId(DeliveryId::from_bytes([0; 16]));
        let mut done = 0;
        let condition = (self.condition)(filter, 4);
        let sql = self.sql(filter, &condition);
        let at_once = to_i64(LOOKED_AT);
        loop {
            let mut params: Vec<Param<'_>> = vec![
                (&after, Type::UUID),
                (&last, Type::UUID),
                (&at_once, Type::INT8),
            ];
            params.extend(condition.params());
            let step = Statement::new(&sql, params);
            // Repeated, it would count none of what it has changed.
            let found = transactions.run_once(Mode::Durable, &[step]).await?;
            let changed: i64 = first(&found, 0)?.unwrap_or(0);
            done += usize::try_from(changed).unwrap_or(0);
            let looked_at: i64 = first(&found, 1)?.unwrap_or(0);
            let reached: Option<Option<SqlId>> = first(&found, 2)?;
            match reached.flatten() {
                Some(reached) if looked_at == at_once => after = reached,
                _ => return Ok(done),
            }
        }
    }

    async fn last(
        &self,
        transactions: &Transactions,
    ) -> Result<Option<SqlId>, PostgresOutboxError> {
        let last = format!("SELECT id FROM {} ORDER BY id DESC LIMIT 1", self.table);
        let last = Statement::new(&last, Vec::new());
        first(&transactions.run(Mode::Look, &[last]).await?, 0)
    }

    /// Filters by id use an index. All other filters read each row once.
    fn sql(&self, filter: &DeliveryFilter, condition: &Condition) -> String {
        let Self {
            table,
            columns,
            is_meant,
            change,
            ..
        } = self;
        let condition = &condition.sql;
        let is_named = filter.id().is_some() || filter.request_id().is_some();
        let looked_for = match is_named {
            true => &**condition,
            false => "TRUE",
        };
        format!(
            "WITH looked_at AS MATERIALIZED (
                 SELECT {columns} FROM {table}
                 WHERE id > $1 AND id <= $2 AND {looked_for} ORDER BY id LIMIT $3
             ), meant AS (
                 SELECT id FROM {table} WHERE id = ANY (ARRAY (
                     SELECT id FROM looked_at WHERE {condition})) AND {is_meant}
                 FOR UPDATE SKIP LOCKED
             ), changed AS (
                 {change}
             )
             SELECT (SELECT count(*) FROM changed), (SELECT count(*) FROM looked_at),
                    (SELECT id FROM looked_at ORDER BY id DESC LIMIT 1)"
        )
    }
}
