//! Inserts of ids that exist already: the response of a run, or a batch that is repeated.

use std::collections::HashMap;

use tokio_postgres::{Client, types::Type};
use tower_webhook::{DeliveryId, outbox::Lease};

use crate::{
    PostgresOutboxError,
    insert::{Columns, NewRow},
    lease::Leaser,
    transaction::{Mode, Param, Transactions},
    value::SqlId,
};

/// Locks in id order, so that two such transactions cannot deadlock. A positive token is that of an insert.
const LOCK: &str = "
    SELECT id, run AND state <> 'dead' AS is_run,
           coalesce(failure = 'interrupted', false) AS is_notice,
           coalesce(state = 'waiting' OR state = 'leased' AND owner = $2 AND token > 0, false) AS is_free
    FROM delivery WHERE id = ANY ($1::uuid[]) ORDER BY id FOR UPDATE";

/// Replaces runs, and notices that they were interrupted, by their responses.
const REPLACE: &str = "
    WITH new AS (
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::int4[], $5::text[], $6::text[],
                             $7::int8[], $8::timestamptz[], $9::bool[], $10::bool[], $11::bytea[],
                             $12::bytea[])
            AS new (id, request_id, host, status, failure, key, payload_len, accepted_at, lease, run,
                    envelope, body)
    ), replaced AS (
        UPDATE delivery d SET
            request_id = new.request_id, host = new.host, status = new.status,
            failure = new.failure, key = new.key, payload_len = new.payload_len,
            accepted_at = new.accepted_at, run = false, attempt = 1, due_at = now(),
            died_at = NULL, reason = NULL,
            state = CASE WHEN lease THEN 'leased' ELSE 'waiting' END,
            owner = CASE WHEN lease THEN $13 END,
            token = CASE WHEN lease THEN $14 END,
            leased_until = CASE WHEN lease
                THEN clock_timestamp() + $15 * interval '1 millisecond' END
        FROM new WHERE d.id = ANY ($1::uuid[]) AND d.id = new.id
    )
    INSERT INTO payload (id, envelope, body) SELECT id, envelope, body FROM new
    ON CONFLICT (id) DO UPDATE SET envelope = excluded.envelope, body = excluded.body";

const LEASE: &str = "
    UPDATE delivery SET state = 'leased', owner = $2, token = $3,
        leased_until = clock_timestamp() + $4 * interval '1 millisecond'
    WHERE id = ANY ($1::uuid[])";

/// What an insert meets where its id exists already.
#[derive(Clone, Copy, Default)]
struct Met {
    is_run: bool,
    /// It tells that a run was interrupted, or has died with that.
    is_notice: bool,
    /// It waits, or is leased to this owner by an insert.
    is_free: bool,
}

impl Met {
    /// A response is not lost, whoever tells just now that there is none.
    fn makes_way_for(self, row: &NewRow) -> bool {
        self.is_run || self.is_notice && !row.is_notice()
    }
}

pub(crate) async fn insert(
    transactions: &Transactions,
    leaser: Leaser,
    known: &[(usize, &NewRow)],
) -> Result<Vec<Option<Lease>>, PostgresOutboxError> {
    let token = Leaser::new_token();
    let leased = transactions
        .run_steps(Mode::Durable, async |client| {
            let met = lock(client, leaser, known).await?;
            let met = |row: &NewRow| met.get(&row.id()).copied().unwrap_or_default();
            let (mut replaced, mut free) = (HashMap::new(), Vec::new());
            for (_, row) in known {
                if met(row).makes_way_for(row) {
                    replaced.insert(row.id(), *row);
                } else if met(row).is_free && row.wants_lease() {
                    free.push(SqlId(row.id()));
                }
            }
            if !replaced.is_empty() {
                let mut columns = Columns::default();
                replaced.into_values().for_each(|row| columns.push(row));
                let more: Vec<Param<'_>> = vec![
                    (&leaser.owner, Type::INT8),
                    (&token, Type::INT8),
                    (&leaser.ms, Type::INT8),
                ];
                let params = [columns.params(), more].concat();
                client.query_typed(REPLACE, &params).await?;
            }
            if !free.is_empty() {
                let params: [Param<'_>; 4] = [
                    (&free, Type::UUID_ARRAY),
                    (&leaser.owner, Type::INT8),
                    (&token, Type::INT8),
                    (&leaser.ms, Type::INT8),
                ];
                client.query_typed(LEASE, &params).await?;
            }
            let lease = |row: &NewRow| {
                let is_ours = met(row).makes_way_for(row) || met(row).is_free;
                (row.wants_lease() && is_ours).then(|| Lease::new(row.id(), token.cast_unsigned()))
            };
            Ok(known.iter().map(|(_, row)| lease(row)).collect())
        })
        .await?;
    Ok(leased)
}

async fn lock(
    client: &Client,
    leaser: Leaser,
    known: &[(usize, &NewRow)],
) -> Result<HashMap<DeliveryId, Met>, tokio_postgres::Error> {
    let ids: Vec<_> = known.iter().map(|(_, row)| SqlId(row.id())).collect();
    let params: [Param<'_>; 2] = [(&ids, Type::UUID_ARRAY), (&leaser.owner, Type::INT8)];
    let mut all = HashMap::new();
    for row in client.query_typed(LOCK, &params).await? {
        let met = Met {
            is_run: row.try_get(1)?,
            is_notice: row.try_get(2)?,
            is_free: row.try_get(3)?,
        };
        all.insert(row.try_get::<_, SqlId>(0)?.0, met);
    }
    Ok(all)
}
