use tokio_postgres::types::Type;
use tower_webhook::outbox::Sealing;

use crate::{
    PostgresOutboxError, PostgresOutboxErrorKind as Kind,
    transaction::{Mode, Statement, Transactions},
    value::to_i64,
};

/// The names of the keys of a sample: a whole table takes long to read.
pub(crate) const NAMES: &str = "
    SELECT DISTINCT key FROM (
        (SELECT key, state FROM delivery WHERE state = 'waiting' ORDER BY due_at LIMIT $1)
        UNION ALL
        (SELECT key, state FROM delivery ORDER BY id DESC LIMIT $1)
    ) AS sample WHERE state <> 'dead'";

/// How many of those that are due the longest, and of the newest, are in the sample.
pub(crate) const SAMPLE: usize = 1_024;

/// Fails if a waiting delivery of the sample is sealed with a key that was not given.
pub(crate) async fn check(
    transactions: &Transactions,
    sealing: &Sealing,
    may_be_lost: bool,
) -> Result<(), PostgresOutboxError> {
    let most = to_i64(SAMPLE);
    let names = Statement::new(NAMES, vec![(&most, Type::INT8)]);
    let found = transactions.run(Mode::Read, &[names]).await?;
    for row in found.iter().flatten() {
        if sealing.can_open(row.try_get(0)?) {
            continue;
        }
        if !may_be_lost {
            return Err(Kind::UnknownKey.into());
        }
        tracing::error!("deliveries wait that are sealed with a lost key: they will not be sent");
    }
    Ok(())
}
