//! A limit by host over all processes that share the outbox.

use std::time::Duration;

use tower_webhook::{endpoint::Host, outbox::Want};

use crate::{
    PostgresOutboxError,
    transaction::{Mode, Param, Statement, Transactions},
    value::to_i64,
};

/// The deliveries of one host that may be leased at the same time, by whichever process.
#[derive(Clone, Copy)]
pub(crate) struct FleetLimit(pub(crate) usize);

/// How soon room is looked for again where some of a wanted host wait for it: nobody tells that a lease of
/// another process has ended.
pub(crate) const AGAIN_IN: Duration = Duration::from_millis(50);

/// Leases of each host. It scans the partial index of leased rows, which are few however many rows wait. Runs
/// are calls under way, and no attempts.
const LEASED: &str = "
    SELECT host, count(*) FROM delivery WHERE state = 'leased' AND NOT run GROUP BY host";

/// Processes claim rows of the same host one after the other: each sees what the one before has leased. The
/// locks end with the transaction. Hosts come in the same order everywhere. A database may have several
/// schemas with an outbox.
pub(crate) const LOCK: &str = "
    SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || '.' || host, 7526)) FROM unnest($1::text[]) AS hosts (host)";

/// As `fetch::CLAIM`, and no more of a host than its limit has left.
pub(crate) const CLAIM: &str = "
    WITH held AS (
        SELECT host, count(*) AS number FROM delivery
        WHERE state = 'leased' AND NOT run AND host = ANY ($5::text[]) GROUP BY host
    ), ranked AS (
        SELECT id, coalesce(number, 0) + row_number() OVER (PARTITION BY host ORDER BY due_at, id) AS nth
        FROM delivery LEFT JOIN held USING (host)
        WHERE id = ANY ($1::uuid[]) AND state || '' = 'waiting' AND due_at <= now()
    )
    UPDATE delivery SET state = 'leased', owner = $2, token = $3, run = false,
        leased_until = clock_timestamp() + $4 * interval '1 millisecond'
    WHERE id = ANY (ARRAY (
        SELECT id FROM delivery
        WHERE id = ANY (ARRAY (SELECT id FROM ranked WHERE nth <= $6)) AND state || '' = 'waiting'
        FOR UPDATE SKIP LOCKED))
    RETURNING id";

impl FleetLimit {
    pub(crate) fn number(self) -> i64 {
        to_i64(self.0)
    }

    /// What is wanted, but no more of a host than its limit has left. Without this, rows of a host at its
    /// limit would be chosen again and again in place of others.
    pub(crate) async fn narrow(
        self,
        transactions: &Transactions,
        want: &Want,
    ) -> Result<Want, PostgresOutboxError> {
        let found = transactions
            .run(Mode::Look, &[Statement::new(LEASED, Vec::new())])
            .await?;
        let mut narrowed = want.clone();
        narrowed.of_other_hosts = want.of_other_hosts.min(self.0);
        for number in narrowed.of_host.values_mut() {
            *number = (*number).min(self.0);
        }
        for row in found.iter().flatten() {
            let host = Host::from(row.try_get::<_, &str>(0)?);
            let leased = usize::try_from(row.try_get::<_, i64>(1)?).unwrap_or(usize::MAX);
            let left = want.of(&host).min(self.0.saturating_sub(leased));
            narrowed.of_host.insert(host, left);
        }
        Ok(narrowed)
    }

    /// The lock that precedes a claim of rows of these hosts, which are sorted.
    pub(crate) fn lock(hosts: Param<'_>) -> Statement<'_> {
        Statement::new(LOCK, vec![hosts])
    }
}
