use std::{collections::HashSet, time::SystemTime};

use tokio_postgres::types::Type;
use tower_webhook::{
    DeliveryId,
    event::FailReason,
    outbox::{Lease, NewDelivery},
};

use crate::{
    PostgresOutboxError, known,
    lease::Leaser,
    transaction::{Mode, Param, Statement, Transactions},
    unheard::Unheard,
    value::{Body, SqlId, storable, to_i64},
};

/// Inserts all rows with one statement and returns the ids that were new.
const INSERT: &str = include_str!("insert.sql");

const TAKE_BACK: &str = "
    UPDATE delivery SET token = $3,
        leased_until = clock_timestamp() + $4 * interval '1 millisecond'
    WHERE id = ANY ($1::uuid[]) AND state = 'leased' AND run AND owner = $2
        AND (token = $3 OR id = ANY ($5::uuid[]))
    RETURNING id";

/// A new delivery or run.
pub(crate) struct NewRow {
    pub(crate) new: NewDelivery,
    pub(crate) is_run: bool,
}

/// The column arrays that are unnested by a statement.
#[derive(Default)]
pub(crate) struct Columns<'a> {
    pub(crate) ids: Vec<SqlId>,
    pub(crate) request_ids: Vec<&'a str>,
    pub(crate) hosts: Vec<&'a str>,
    pub(crate) statuses: Vec<Option<i32>>,
    pub(crate) failures: Vec<Option<&'static str>>,
    pub(crate) keys: Vec<Option<String>>,
    pub(crate) lengths: Vec<i64>,
    pub(crate) accepted: Vec<SystemTime>,
    pub(crate) leases: Vec<bool>,
    pub(crate) runs: Vec<bool>,
    pub(crate) envelopes: Vec<&'a [u8]>,
    pub(crate) bodies: Vec<Body<'a>>,
}

impl NewRow {
    pub(crate) fn id(&self) -> DeliveryId {
        self.new.stored.id
    }

    pub(crate) fn wants_lease(&self) -> bool {
        self.is_run || self.new.lease
    }

    /// Whether it tells that a run was interrupted.
    pub(crate) fn is_notice(&self) -> bool {
        self.new.stored.failure == Some(FailReason::Interrupted)
    }
}

/// Inserts the rows and returns their leases, in order.
///
/// Ids that exist already are handled by a second transaction. If that fails, the caller repeats the whole
/// batch, which is idempotent: the rows of the first transaction then exist already, leased to this owner.
pub(crate) async fn insert(
    transactions: &Transactions,
    leaser: Leaser,
    rows: &[NewRow],
    unheard: &Unheard,
) -> Result<Vec<Option<Lease>>, PostgresOutboxError> {
    let token = Leaser::new_token();
    let (mut seen, mut once) = (HashSet::new(), Columns::default());
    for row in rows {
        // The payload's upsert may not touch a row twice.
        if seen.insert(row.id()) {
            once.push(row);
        }
    }
    let params = [
        once.params(),
        vec![
            (&leaser.owner, Type::INT8),
            (&token, Type::INT8),
            (&leaser.ms, Type::INT8),
        ],
    ]
    .concat();
    let insert = Statement::new(INSERT, params);
    let found = transactions.run(Mode::Durable, &[insert]).await?;
    let mut added = HashSet::new();
    for row in found.iter().flatten() {
        added.insert(row.try_get::<_, SqlId>(0)?.0);
    }
    let met = |row: &&NewRow| row.is_run && !added.contains(&row.id());
    let met: Vec<_> = rows.iter().filter(met).map(NewRow::id).collect();
    if !met.is_empty() {
        added.extend(take_back(transactions, leaser, token, &met, unheard).await?);
    }
    let mut leases = Vec::with_capacity(rows.len());
    let mut known = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let is_new = added.remove(&row.id());
        if !is_new && !row.is_run {
            known.push((index, row));
        }
        let is_leased = is_new && row.wants_lease();
        leases.push(is_leased.then(|| Lease::new(row.id(), token.cast_unsigned())));
    }
    if !known.is_empty() {
        let leased = known::insert(transactions, leaser, &known).await?;
        for ((index, _), lease) in known.into_iter().zip(leased) {
            leases[index] = lease;
        }
    }
    Ok(leases)
}

/// Leases runs again that this owner has begun, and nobody knows that: an earlier try of this call committed
/// before its connection was lost, or an earlier call did whose caller did not hear of it.
async fn take_back(
    transactions: &Transactions,
    leaser: Leaser,
    token: i64,
    met: &[DeliveryId],
    unheard: &Unheard,
) -> Result<Vec<DeliveryId>, PostgresOutboxError> {
    let unheard = met.iter().filter(|id| unheard.contains(**id));
    let unheard: Vec<_> = unheard.copied().map(SqlId).collect();
    let met: Vec<_> = met.iter().copied().map(SqlId).collect();
    let params: Vec<Param<'_>> = vec![
        (&met, Type::UUID_ARRAY),
        (&leaser.owner, Type::INT8),
        (&token, Type::INT8),
        (&leaser.ms, Type::INT8),
        (&unheard, Type::UUID_ARRAY),
    ];
    let take_back = Statement::new(TAKE_BACK, params);
    let found = transactions.run(Mode::Durable, &[take_back]).await?;
    let id = |row: &tokio_postgres::Row| Ok(row.try_get::<_, SqlId>(0)?.0);
    found.iter().flatten().map(id).collect()
}

impl<'a> Columns<'a> {
    pub(crate) fn push(&mut self, row: &'a NewRow) {
        let stored = &row.new.stored;
        let envelope = stored.envelope.bytes();
        self.ids.push(SqlId(stored.id));
        self.request_ids.push(stored.request_id.as_str());
        self.hosts.push(stored.host.as_str());
        self.statuses
            .push(stored.status.map(|status| status.as_u16().into()));
        self.failures.push(stored.failure.map(FailReason::name));
        self.keys.push(stored.envelope.key_name());
        self.lengths.push(to_i64(stored.payload.len()));
        self.accepted.push(storable(stored.accepted_at));
        self.leases.push(row.wants_lease());
        self.runs.push(row.is_run);
        self.envelopes.push(envelope.map_or(&[][..], |bytes| bytes));
        self.bodies.push(Body(&stored.payload));
    }

    /// `$1` to `$12`.
    pub(crate) fn params(&self) -> Vec<Param<'_>> {
        vec![
            (&self.ids, Type::UUID_ARRAY),
            (&self.request_ids, Type::TEXT_ARRAY),
            (&self.hosts, Type::TEXT_ARRAY),
            (&self.statuses, Type::INT4_ARRAY),
            (&self.failures, Type::TEXT_ARRAY),
            (&self.keys, Type::TEXT_ARRAY),
            (&self.lengths, Type::INT8_ARRAY),
            (&self.accepted, Type::TIMESTAMPTZ_ARRAY),
            (&self.leases, Type::BOOL_ARRAY),
            (&self.runs, Type::BOOL_ARRAY),
            (&self.envelopes, Type::BYTEA_ARRAY),
            (&self.bodies, Type::BYTEA_ARRAY),
        ]
    }
}
