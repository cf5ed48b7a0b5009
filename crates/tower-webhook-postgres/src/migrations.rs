//! Schema versions and migrations.

use std::fmt;

use tokio_postgres::types::Type;

use crate::{
    PostgresOutboxError, PostgresOutboxErrorKind as Kind,
    name::SchemaName,
    transaction::{Mode, Statement, Transactions},
};

/// One step from an empty schema to the current version: a SQL script for `psql` or another migration tool.
///
/// It is one transaction and takes an advisory lock, so that concurrent runs are serialized. Run migrations in
/// order, each one once.
#[derive(Clone, PartialEq, Eq)]
pub struct Migration {
    version: i32,
    sql: String,
}

/// The migrations in order. A released one is never edited; changes are appended as new ones.
const STEPS: &[&str] = &[include_str!("migrations/0001.sql")];

/// The schema version that this crate version works with.
fn newest() -> i32 {
    i32::try_from(STEPS.len()).unwrap_or(i32::MAX)
}

impl Migration {
    /// Its version, from 1.
    #[must_use]
    pub fn version(&self) -> i32 {
        self.version
    }

    /// The SQL script, from `BEGIN` to `COMMIT`.
    #[must_use]
    pub fn sql(&self) -> &str {
        &self.sql
    }

    pub(crate) fn all(schema: &SchemaName) -> Vec<Self> {
        let migration = |(version, step): (i32, &&str)| Self {
            version,
            sql: format!(
                "BEGIN ISOLATION LEVEL READ COMMITTED;\n{}\nCOMMIT;\n",
                sql_of(schema, version, step, true)
            ),
        };
        (1..).zip(STEPS).map(migration).collect()
    }
}

impl fmt::Display for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sql)
    }
}

impl fmt::Debug for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Migration({})", self.version)
    }
}

/// A migration without `BEGIN` and `COMMIT`. Its lock ends with the transaction, as poolers require.
fn sql_of(schema: &SchemaName, version: i32, step: &str, creates_schema: bool) -> String {
    let quoted = schema.quoted();
    let create = match creates_schema {
        true => format!("CREATE SCHEMA IF NOT EXISTS {quoted};"),
        false => String::new(),
    };
    // The lock is per schema. An `E` literal reads the same whatever `standard_conforming_strings` is.
    let literal = schema.as_str().replace('\\', "\\\\").replace('\'', "''");
    format!(
        "SELECT pg_advisory_xact_lock({LOCK}, hashtext(E'{literal}'));
{create}
SET LOCAL search_path = {quoted}, pg_temp;
CREATE TABLE IF NOT EXISTS migration (
    version    integer PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO migration (version) VALUES ({version});

{step}"
    )
}

/// "twhk", the first half of the lock's key.
const LOCK: i32 = 0x7477_686b;

/// Migrates the schema to the newest version, or only checks it.
pub(crate) async fn prepare(
    transactions: &Transactions,
    schema: &SchemaName,
    migrates: bool,
) -> Result<(), PostgresOutboxError> {
    loop {
        let found = version(transactions, schema).await?;
        if found > newest() {
            return Err(Kind::NewerSchema.into());
        }
        let next = usize::try_from(found).unwrap_or(0);
        let Some(step) = STEPS.get(next) else {
            return Ok(());
        };
        if !migrates {
            return Err(Kind::OlderSchema.into());
        }
        // `CREATE SCHEMA IF NOT EXISTS` requires a privilege even if the schema exists.
        let creates_schema = !exists(transactions, SCHEMA, schema).await?;
        let sql = sql_of(schema, found + 1, step, creates_schema);
        let ran = transactions
            .run_steps(Mode::Durable, async |client| {
                client.batch_execute(&sql).await
            })
            .await;
        match ran {
            Ok(()) => tracing::info!(version = found + 1, "the PostgreSQL outbox was migrated"),
            // Another process has applied this version meanwhile.
            Err(error) if error.sqlstate() == Some("23505") => {}
            Err(error) => return Err(error),
        }
    }
}

/// The schema's version; 0 if there are no tables.
async fn version(
    transactions: &Transactions,
    schema: &SchemaName,
) -> Result<i32, PostgresOutboxError> {
    if !exists(transactions, MIGRATION, schema).await? {
        return Ok(0);
    }
    let newest = "SELECT version FROM migration ORDER BY version DESC LIMIT 1";
    let newest = Statement::new(newest, Vec::new());
    let found = transactions.run(Mode::Look, &[newest]).await?;
    let Some(newest) = first(&found, 0)? else {
        return Ok(0);
    };
    // Other applications have a table of that name, too.
    match exists(transactions, TABLES, schema).await? {
        true => Ok(newest),
        false => Err(Kind::Foreign.into()),
    }
}

const SCHEMA: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)";
const MIGRATION: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_tables
                         WHERE schemaname = $1 AND tablename = 'migration')";
const TABLES: &str = "SELECT count(*) = 3 FROM pg_catalog.pg_tables
                      WHERE schemaname = $1 AND tablename IN ('delivery', 'payload', 'history')";

async fn exists(
    transactions: &Transactions,
    sql: &str,
    schema: &SchemaName,
) -> Result<bool, PostgresOutboxError> {
    let name = schema.as_str();
    let exists = Statement::new(sql, vec![(&name, Type::TEXT)]);
    let found = transactions.run(Mode::Look, &[exists]).await?;
    Ok(first(&found, 0)?.unwrap_or(false))
}

/// A column of the first row of the first statement; `None` if there is no row.
pub(crate) fn first<'a, T: tokio_postgres::types::FromSql<'a>>(
    found: &'a [Vec<tokio_postgres::Row>],
    column: usize,
) -> Result<Option<T>, PostgresOutboxError> {
    match found.first().and_then(|rows| rows.first()) {
        Some(row) => Ok(row.try_get(column)?),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_migration_is_one_transaction_of_a_quoted_schema() {
        let schema = SchemaName::new(r#"it's "odd""#).unwrap();
        let all = Migration::all(&schema);
        assert_eq!(all.len(), STEPS.len());
        let sql = all[0].sql();
        assert_eq!(all[0].version(), 1);
        assert!(sql.starts_with("BEGIN ISOLATION") && sql.ends_with("COMMIT;\n"));
        assert!(sql.contains(r#"CREATE SCHEMA IF NOT EXISTS "it's ""odd""";"#));
        assert!(sql.contains("hashtext(E'it''s \"odd\"')"));
    }
}
