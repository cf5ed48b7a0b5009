//! Leases: whose they are, and how they go on, run out and are handed back.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use tokio_postgres::types::Type;
use tower_webhook::outbox::Lease;

use crate::{
    PostgresOutboxError,
    transaction::{Mode, Param, Statement, Transactions},
    value::{SqlId, to_ms},
};

/// Who leases, and for how long. Each value of an outbox is another owner, also within one process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaser {
    pub(crate) owner: i64,
    pub(crate) ms: i64,
}

/// A row that a settlement is about to change is renewed no more: nobody waits for anybody here. A row
/// has a token for as long as it is leased.
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

/// Those that are leased are few, however many wait: the index holds no others.
pub(crate) const RECLAIM: &str = "
    UPDATE delivery SET state = 'waiting', owner = NULL, token = NULL, leased_until = NULL
    WHERE id = ANY (ARRAY (
        SELECT id FROM delivery WHERE state = 'leased' AND leased_until <= now()
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

/// So many rows are changed by one transaction.
const AT_ONCE: i64 = 512;
/// So often it is looked for leases that have run out, at most and at least; and it takes at most so
/// small a part of the time.
const MOST_OFTEN: Duration = Duration::from_millis(50);
const LEAST_OFTEN: Duration = Duration::from_secs(1);
const PART: u32 = 20;

impl Leaser {
    pub(crate) fn new(lease: Duration) -> Self {
        Self {
            owner: fastrand::i64(1..),
            ms: to_ms(lease),
        }
    }

    /// Another one for each transaction that leases.
    pub(crate) fn new_token() -> i64 {
        fastrand::i64(1..)
    }
}

/// Gives back those that are lost.
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

/// Hands back all that this owner has leased, some at a time.
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

/// Hands back what was leased for somebody who did not wait for it.
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

/// Looks now and then for leases that have run out, whoever had them.
pub(crate) struct Reclaim {
    every: Duration,
    next: Instant,
}

impl Reclaim {
    pub(crate) fn new(lease: Duration) -> Self {
        Self {
            every: (lease / 10).clamp(MOST_OFTEN, LEAST_OFTEN),
            next: Instant::now(),
        }
    }

    pub(crate) async fn run_if_due(
        &mut self,
        transactions: &Transactions,
    ) -> Result<(), PostgresOutboxError> {
        let began = Instant::now();
        if began < self.next {
            return Ok(());
        }
        let reclaim = Statement::new(RECLAIM, vec![(&AT_ONCE, Type::INT8)]);
        let found = transactions.run(Mode::Quick, &[reclaim]).await?;
        let reclaimed = found.iter().flatten().count();
        if reclaimed > 0 {
            tracing::warn!(reclaimed, "leases in the PostgreSQL outbox had run out");
        }
        // Where there are more, the next fetch goes on.
        self.next = match reclaimed < usize::try_from(AT_ONCE).unwrap_or(0) {
            true => Instant::now() + (began.elapsed() * PART).max(self.every),
            false => began,
        };
        Ok(())
    }
}
