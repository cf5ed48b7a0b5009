//! Leases: renewing, reclaiming after expiry, and releasing.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use tokio_postgres::types::Type;
use tower_webhook::outbox::Lease;

use crate::{
    PostgresOutboxError,
    reclaim_times::ReclaimTimes,
    transaction::{Mode, Param, Statement, Transactions},
    value::{SqlId, to_ms},
};

/// The owner of leases and their duration. Each `PostgresOutbox` value is a different owner.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaser {
    pub(crate) owner: i64,
    pub(crate) ms: i64,
}

/// Skips rows that are locked, which are being settled: it never waits, so it cannot deadlock with a
/// settlement. A row has a token exactly while it is leased.
pub(crate) const RENEW: &str = "
    UPDATE delivery SET leased_until = clock_timestamp() + $3 * interval '1 millisecond'
    WHERE id = ANY (ARRAY (
        SELECT d.id FROM delivery d JOIN unnest($1::uuid[], $2::int8[]) AS held (id, token)
            ON d.id = held.id AND d.token = held.token
        WHERE d.id = ANY ($1::uuid[]) FOR UPDATE OF d SKIP LOCKED))";

const HELD: &str = "
    SELECT d.id, d.token FROM delivery d JOIN unnest($1::uuid[], $2::int8[]) AS held (id, token)
        ON d.id = held.id AND d.token = held.token
    WHERE d.id = ANY ($1::uuid[])";

/// Scans the partial index of leased rows, which are few however many rows wait. Only somebody who edits rows
/// leaves one without the end of its lease.
pub(crate) const RECLAIM: &str = "
    UPDATE delivery SET state = 'waiting', owner = NULL, token = NULL, leased_until = NULL
    WHERE id = ANY (ARRAY (
        SELECT id FROM delivery
        WHERE state = 'leased' AND (leased_until IS NULL OR leased_until <= now())
        LIMIT $1 FOR UPDATE SKIP LOCKED))
    RETURNING id";

const LEAVE: &str = "
    UPDATE delivery SET state = 'waiting', owner = NULL, token = NULL, leased_until = NULL
    WHERE id = ANY (ARRAY (
        SELECT id FROM delivery WHERE state = 'leased' AND owner = $2
        ORDER BY id LIMIT $1 FOR UPDATE))
    RETURNING id";

const RELEASE: &str = "
    UPDATE delivery SET state = 'waiting', owner = NULL, token = NULL, leased_until = NULL
    WHERE id = ANY ($1::uuid[]) AND owner = $2 AND token = $3";

/// Rows changed by one transaction at most.
const AT_ONCE: i64 = 512;

impl Leaser {
    pub(crate) fn new(lease: Duration) -> Self {
        Self {
            owner: fastrand::i64(1..),
            ms: to_ms(lease),
        }
    }

    /// A random token for one transaction that inserts and leases.
    pub(crate) fn new_token() -> i64 {
        fastrand::i64(1..)
    }

    /// The same for one that fetches. These are negative: what was fetched is attempted already, and an insert of
    /// the same delivery must not lease it again.
    pub(crate) fn new_fetch_token() -> i64 {
        fastrand::i64(..0)
    }
}

/// Renews the leases and returns those that are lost.
pub(crate) async fn renew(
    transactions: &Transactions,
    leaser: Leaser,
    leases: &[Lease],
) -> Result<Vec<Lease>, PostgresOutboxError> {
    let ids: Vec<_> = leases.iter().map(|lease| SqlId(lease.delivery)).collect();
    let tokens: Vec<_> = leases
        .iter()
        .map(|lease| lease.token.cast_signed())
        .collect();
    let renew = Statement::new(
        RENEW,
        vec![
            (&ids, Type::UUID_ARRAY),
            (&tokens, Type::INT8_ARRAY),
            (&leaser.ms, Type::INT8),
        ],
    );
    let held = Statement::new(
        HELD,
        vec![(&ids, Type::UUID_ARRAY), (&tokens, Type::INT8_ARRAY)],
    );
    let found = transactions.run(Mode::Quick, &[renew, held]).await?;
    let mut held = HashSet::new();
    for row in found.iter().skip(1).flatten() {
        let id: SqlId = row.try_get(0)?;
        held.insert(Lease::new(id.0, row.try_get::<_, i64>(1)?.cast_unsigned()));
    }
    let lost = leases.iter().filter(|lease| !held.contains(lease));
    Ok(lost.copied().collect())
}

/// Releases all leases of this owner, in batches.
pub(crate) async fn leave(
    transactions: &Transactions,
    leaser: Leaser,
) -> Result<(), PostgresOutboxError> {
    loop {
        let params: Vec<Param<'_>> = vec![(&AT_ONCE, Type::INT8), (&leaser.owner, Type::INT8)];
        let leave = Statement::new(LEAVE, params);
        let found = transactions.run(Mode::Quick, &[leave]).await?;
        if found.iter().flatten().count() < usize::try_from(AT_ONCE).unwrap_or(0) {
            return Ok(());
        }
    }
}

/// Releases leases whose fetch was dropped.
pub(crate) async fn release(
    transactions: &Transactions,
    leaser: Leaser,
    leases: &[Lease],
) -> Result<(), PostgresOutboxError> {
    let Some(first) = leases.first() else {
        return Ok(());
    };
    let ids: Vec<_> = leases.iter().map(|lease| SqlId(lease.delivery)).collect();
    let token = first.token.cast_signed();
    let release = Statement::new(
        RELEASE,
        vec![
            (&ids, Type::UUID_ARRAY),
            (&leaser.owner, Type::INT8),
            (&token, Type::INT8),
        ],
    );
    transactions.run(Mode::Quick, &[release]).await.map(drop)
}

/// Makes deliveries due again whose lease has expired, whichever process held it, if it is time for that.
pub(crate) async fn reclaim(
    transactions: &Transactions,
    times: &mut ReclaimTimes,
) -> Result<(), PostgresOutboxError> {
    let began = Instant::now();
    if !times.is_due(began) {
        return Ok(());
    }
    let reclaim = Statement::new(RECLAIM, vec![(&AT_ONCE, Type::INT8)]);
    let found = transactions.run(Mode::Quick, &[reclaim]).await?;
    let reclaimed = found.iter().flatten().count();
    if reclaimed > 0 {
        tracing::warn!(reclaimed, "leases in the PostgreSQL outbox had run out");
    }
    let is_all = reclaimed < usize::try_from(AT_ONCE).unwrap_or(0);
    times.end(is_all, began, Instant::now());
    Ok(())
}
