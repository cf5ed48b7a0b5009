use std::time::Duration;

use deadpool::managed::{Pool, PoolError};
use futures_util::future::{join_all, join3};
use tokio::time::{Instant, timeout_at};
use tokio_postgres::{
    Client, Row,
    types::{ToSql, Type},
};

use crate::{
    PostgresOutboxError, PostgresOutboxErrorKind as Kind,
    connect::Connector,
    loan::{Canceller, Loan},
    name::SchemaName,
};

/// Runs transactions on pooled connections.
///
/// No transaction depends on session state: settings are `SET LOCAL` and statements are unnamed, so a pooler
/// may run each transaction in a different session. A connection on which a transaction failed or timed out is
/// closed.
pub(crate) struct Transactions {
    pool: Pool<Connector>,
    canceller: Canceller,
    begin: [String; 4],
    timeout: Duration,
}

/// Kinds of transaction.
#[derive(Clone, Copy)]
pub(crate) enum Mode {
    /// Committed with at least `synchronous_commit = on`.
    Durable,
    /// Committed without waiting for the disk: losing it costs a second delivery at most.
    Quick,
    /// Read only.
    Look,
    /// Read only, with a longer timeout: administrative, or over a whole table.
    Read,
}

/// A statement and its parameters.
pub(crate) struct Statement<'a> {
    pub(crate) sql: &'a str,
    pub(crate) params: Vec<Param<'a>>,
}

/// A value and its type. With types given, a statement needs no round trip to prepare.
pub(crate) type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// How often a transaction is tried that hits a deadlock or a closed connection.
const TRIES: u32 = 3;
/// The minimum timeout of [`Mode::Read`].
const READ: Duration = Duration::from_secs(30);

impl<'a> Statement<'a> {
    pub(crate) fn new(sql: &'a str, params: Vec<Param<'a>>) -> Self {
        Self { sql, params }
    }
}

impl Transactions {
    pub(crate) fn new(
        connector: Connector,
        connections: usize,
        schema: &SchemaName,
        timeout: Duration,
    ) -> Result<Self, PostgresOutboxError> {
        let canceller = Canceller::new(connector.tls().clone(), timeout);
        let pool = Pool::builder(connector).max_size(connections).build();
        let begin = |mode| begin(mode, schema, timeout);
        Ok(Self {
            pool: pool.map_err(|_| Kind::Other)?,
            canceller,
            begin: [Mode::Durable, Mode::Quick, Mode::Look, Mode::Read].map(begin),
            timeout,
        })
    }

    /// Runs the statements in one transaction, pipelined: one round trip. They recognise what they have done
    /// already, and run again if the connection is lost: nobody knows whether the transaction was committed.
    pub(crate) async fn run(
        &self,
        mode: Mode,
        statements: &[Statement<'_>],
    ) -> Result<Vec<Vec<Row>>, PostgresOutboxError> {
        self.pipeline(mode, statements, true).await
    }

    /// The same for statements that would find nothing left to do the second time, and say so.
    pub(crate) async fn run_once(
        &self,
        mode: Mode,
        statements: &[Statement<'_>],
    ) -> Result<Vec<Vec<Row>>, PostgresOutboxError> {
        self.pipeline(mode, statements, false).await
    }

    async fn pipeline(
        &self,
        mode: Mode,
        statements: &[Statement<'_>],
        recognises_repeats: bool,
    ) -> Result<Vec<Vec<Row>>, PostgresOutboxError> {
        let begin = &*self.begin[mode as usize];
        self.again_and_again(mode, recognises_repeats, async |client: &Client| {
            // The futures are polled in order, and each sends on its first poll. After a failed statement
            // the rest fails, too, and `COMMIT` rolls back.
            let sent = statements.iter();
            let rows = join_all(sent.map(|one| client.query_typed(one.sql, &one.params)));
            let begun = client.batch_execute(begin);
            let (begun, rows, committed) = join3(begun, rows, client.batch_execute("COMMIT")).await;
            begun?;
            let rows = rows.into_iter().collect::<Result<_, _>>()?;
            committed?;
            Ok(rows)
        })
        .await
    }

    /// Runs a transaction whose statements depend on each other's results, and recognise what they have done
    /// already.
    pub(crate) async fn run_steps<T>(
        &self,
        mode: Mode,
        steps: impl AsyncFn(&Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, PostgresOutboxError> {
        let begin = &*self.begin[mode as usize];
        self.again_and_again(mode, true, async |client: &Client| {
            client.batch_execute(begin).await?;
            let done = steps(client).await?;
            client.batch_execute("COMMIT").await?;
            Ok(done)
        })
        .await
    }

    async fn again_and_again<T>(
        &self,
        mode: Mode,
        recognises_repeats: bool,
        run: impl AsyncFn(&Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, PostgresOutboxError> {
        let until = Instant::now() + time_of(mode, self.timeout);
        for left in (0..TRIES).rev() {
            let loan = self.loan(until).await?;
            let ran = timeout_at(until, run(loan.client()?)).await;
            match ran.map_err(|_| Kind::TimedOut)? {
                Ok(done) => {
                    loan.keep();
                    return Ok(done);
                }
                Err(error) => {
                    loan.close();
                    let may_be_done = error.is_closed();
                    let error = PostgresOutboxError::from(error);
                    let again = may_be_done && recognises_repeats || error.is_transient();
                    if left == 0 || !again {
                        return Err(error);
                    }
                }
            }
        }
        Err(Kind::Unavailable.into())
    }

    /// Waits until what was given up is cancelled, within the timeout.
    pub(crate) async fn finish(&self) {
        self.canceller.finish().await;
    }

    async fn loan(&self, until: Instant) -> Result<Loan<'_>, PostgresOutboxError> {
        match timeout_at(until, self.pool.get()).await {
            Ok(Ok(connection)) => Ok(Loan::new(connection, &self.canceller)),
            Ok(Err(PoolError::Backend(error))) => Err(error.into()),
            Ok(Err(_)) => Err(Kind::Unavailable.into()),
            Err(_) => Err(Kind::TimedOut.into()),
        }
    }
}

fn time_of(mode: Mode, timeout: Duration) -> Duration {
    match mode {
        Mode::Read => timeout.max(READ),
        _ => timeout,
    }
}

fn begin(mode: Mode, schema: &SchemaName, timeout: Duration) -> String {
    let schema = schema.quoted();
    let ms = time_of(mode, timeout).as_millis().clamp(1, 86_400_000);
    let more = match mode {
        // Overrides a default of `off`; stronger settings stay.
        Mode::Durable => {
            "; SET LOCAL enable_nestloop = off; SELECT set_config('synchronous_commit', 'on', true)
                 WHERE current_setting('synchronous_commit') = 'off'"
        }
        Mode::Quick => "; SET LOCAL enable_nestloop = off; SET LOCAL synchronous_commit = off",
        Mode::Look | Mode::Read => "; SET TRANSACTION READ ONLY",
    };
    // Statistics of a queue table are often stale, so plans are constrained. Sequential scans are never right
    // here, nor are bitmaps of all that waits, which have to be sorted: an index has the order already. Writes look rows up by `id = ANY (…)` and hash-join them with their arrays: a nested loop would
    // compare each with each.
    format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL search_path = {schema}, pg_temp; SET LOCAL statement_timeout = {ms};
         SET LOCAL idle_in_transaction_session_timeout = {ms}; SET LOCAL enable_seqscan = off;
         SET LOCAL enable_bitmapscan = off;
         SET LOCAL jit = off{more}"
    )
}
