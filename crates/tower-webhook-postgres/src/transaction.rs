use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod};
use futures_util::future::{join_all, join3};
use tokio::time::{Instant, timeout_at};
use tokio_postgres::{
    Client, Config, Row,
    types::{ToSql, Type},
};

use crate::{
    PostgresOutboxError, PostgresOutboxErrorKind as Kind, connect::Connector, name::SchemaName,
};

/// Runs transactions on connections of a pool.
///
/// Each one says all that it needs of its session, by `SET LOCAL`, and its statements have no names:
/// whichever session a pooler gives to a transaction, it is the same. A connection on which something
/// has failed, or has not ended in time, is closed and never used again.
pub(crate) struct Transactions {
    pool: Pool,
    begin: [String; 4],
    timeout: Duration,
}

/// What a transaction promises.
#[derive(Clone, Copy)]
pub(crate) enum Mode {
    /// It is as safe as the server can make it when it is over.
    Durable,
    /// Lost with the server, it costs a delivery that is made twice: nobody waits for the disk.
    Quick,
    /// It reads only.
    Look,
    /// The same, and it may take longer: it is for people, or goes through a whole table.
    Read,
}

/// A statement, with its parameters and their types.
pub(crate) struct Statement<'a> {
    pub(crate) sql: &'a str,
    pub(crate) params: Vec<Param<'a>>,
}

/// A value, and its type, which the server is not asked for.
pub(crate) type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// A connection that is closed when it is dropped, unless all went well.
struct Borrowed(Option<Object>);

/// How often a transaction is run that met a deadlock, or a connection that had ended before.
const TRIES: u32 = 3;
/// For so long a transaction may take that reads for people.
const READ: Duration = Duration::from_secs(30);

impl<'a> Statement<'a> {
    pub(crate) fn new(sql: &'a str, params: Vec<Param<'a>>) -> Self {
        Self { sql, params }
    }
}

impl Transactions {
    pub(crate) fn new(
        config: Config,
        connector: Connector,
        connections: usize,
        schema: &SchemaName,
        timeout: Duration,
    ) -> Result<Self, PostgresOutboxError> {
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_connect(config, connector, recycling);
        let pool = Pool::builder(manager).max_size(connections).build();
        let begin = |mode| begin(mode, schema, timeout);
        Ok(Self {
            pool: pool.map_err(|_| Kind::Other)?,
            begin: [Mode::Durable, Mode::Quick, Mode::Look, Mode::Read].map(begin),
            timeout,
        })
    }

    /// One transaction of these statements, which are sent together: the server is waited for once.
    pub(crate) async fn run(
        &self,
        mode: Mode,
        statements: &[Statement<'_>],
    ) -> Result<Vec<Vec<Row>>, PostgresOutboxError> {
        let begin = &*self.begin[mode as usize];
        self.again_and_again(mode, async |client: &Client| {
            // Polled in this order, they are sent in this order. What follows a statement that failed
            // fails, too, and the commit is then a rollback.
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

    /// One transaction, a statement after the other.
    pub(crate) async fn run_steps<T>(
        &self,
        mode: Mode,
        steps: impl AsyncFn(&Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, PostgresOutboxError> {
        let begin = &*self.begin[mode as usize];
        self.again_and_again(mode, async |client: &Client| {
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
        run: impl AsyncFn(&Client) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, PostgresOutboxError> {
        let until = Instant::now() + time_of(mode, self.timeout);
        for left in (0..TRIES).rev() {
            let mut client = self.client(until).await?;
            let ran = timeout_at(until, run(client.get()?)).await;
            match ran.map_err(|_| Kind::TimedOut)? {
                Ok(done) => {
                    client.keep();
                    return Ok(done);
                }
                Err(error) => {
                    let has_ended = error.is_closed();
                    let error = PostgresOutboxError::from(error);
                    // All that is run may be run again: nothing of it is done twice.
                    let again = has_ended || error.is_transient();
                    if left == 0 || !again {
                        return Err(error);
                    }
                }
            }
        }
        Err(Kind::Unavailable.into())
    }

    async fn client(&self, until: Instant) -> Result<Borrowed, PostgresOutboxError> {
        match timeout_at(until, self.pool.get()).await {
            Ok(Ok(client)) => Ok(Borrowed(Some(client))),
            Ok(Err(PoolError::Backend(error))) => Err(error.into()),
            Ok(Err(_)) => Err(Kind::Unavailable.into()),
            Err(_) => Err(Kind::TimedOut.into()),
        }
    }
}

impl Borrowed {
    fn get(&self) -> Result<&Client, PostgresOutboxError> {
        let client = self.0.as_deref().ok_or(Kind::Gone)?;
        Ok(client)
    }

    /// It goes back to the pool.
    fn keep(&mut self) {
        drop(self.0.take());
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if let Some(client) = self.0.take() {
            drop(Object::take(client));
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
        // A default of the server's, the database's or the user's that is weaker than "on".
        Mode::Durable => {
            "; SET LOCAL enable_nestloop = off; SELECT set_config('synchronous_commit', 'on', true)
                 WHERE current_setting('synchronous_commit') = 'off'"
        }
        Mode::Quick => "; SET LOCAL enable_nestloop = off; SET LOCAL synchronous_commit = off",
        Mode::Look | Mode::Read => "; SET TRANSACTION READ ONLY",
    };
    // Tables that are full at one time and empty at another have no true statistics. A plan that reads all
    // of one is never right for what is done here. What is written names its rows by their ids, and is
    // joined with what comes with these: by a hash, as each with each would be the square of a batch.
    format!(
        "BEGIN; SET LOCAL search_path = {schema}, pg_temp; SET LOCAL statement_timeout = {ms};
         SET LOCAL idle_in_transaction_session_timeout = {ms}; SET LOCAL enable_seqscan = off;
         SET LOCAL jit = off{more}"
    )
}
