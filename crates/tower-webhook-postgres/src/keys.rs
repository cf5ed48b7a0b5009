use tower_webhook::outbox::Sealing;

use crate::{
    PostgresOutboxError, PostgresOutboxErrorKind as Kind,
    transaction::{Mode, Statement, Transactions},
};

/// Fails if a waiting delivery is sealed with a key that was not given.
pub(crate) async fn check(
    transactions: &Transactions,
    sealing: &Sealing,
    may_be_lost: bool,
) -> Result<(), PostgresOutboxError> {
    let names = Statement::new(
        "SELECT DISTINCT key FROM delivery WHERE state <> 'dead'",
        Vec::new(),
    );
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
