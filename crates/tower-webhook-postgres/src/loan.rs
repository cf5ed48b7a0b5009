use std::{sync::Arc, time::Duration};

use deadpool::managed::Object;
use tokio::{runtime::Handle, sync::Semaphore, time::timeout};
use tokio_postgres::Client;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{
    PostgresOutboxError, PostgresOutboxErrorKind as Kind, cancel::cancel, connect::Connector,
};

/// A pooled connection on which a transaction runs. On drop its statement is cancelled, unless
/// [`keep`](Self::keep) returned the connection to the pool or [`close`](Self::close) closed it.
pub(crate) struct Loan<'a> {
    connection: Option<Object<Connector>>,
    canceller: &'a Canceller,
}

/// Cancels statements that nobody waits for any more, each in a task of its own.
///
/// A server does not notice that a connection is closed while it waits for a lock or a standby, and a commit
/// that waits for a lost standby is not ended by `statement_timeout`: each would leave a backend behind.
pub(crate) struct Canceller {
    tls: MakeRustlsConnect,
    timeout: Duration,
    /// Each task has a permit while it runs.
    tasks: Arc<Semaphore>,
}

/// More than any pool has connections.
const MOST: u32 = 1 << 16;

impl<'a> Loan<'a> {
    pub(crate) fn new(connection: Object<Connector>, canceller: &'a Canceller) -> Self {
        Self {
            connection: Some(connection),
            canceller,
        }
    }

    pub(crate) fn client(&self) -> Result<&Client, PostgresOutboxError> {
        let connection = self.connection.as_ref().ok_or(Kind::Gone)?;
        Ok(&connection.client)
    }

    /// Returns it to the pool.
    pub(crate) fn keep(mut self) {
        drop(self.connection.take());
    }

    /// Closes it. No statement is under way.
    pub(crate) fn close(mut self) {
        if let Some(connection) = self.connection.take() {
            drop(Object::take(connection));
        }
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.canceller.cancel(connection);
        }
    }
}

impl Canceller {
    /// The timeout of a cancel request.
    pub(crate) fn new(tls: MakeRustlsConnect, timeout: Duration) -> Self {
        Self {
            tls,
            timeout,
            tasks: Arc::new(Semaphore::new(MOST as usize)),
        }
    }

    /// The connection is closed afterwards, and not before: a pooler finds the statement by the connection of
    /// its client.
    fn cancel(&self, connection: Object<Connector>) {
        let connection = Object::take(connection);
        let task = Arc::clone(&self.tasks).try_acquire_owned();
        let (Ok(runtime), Ok(task)) = (Handle::try_current(), task) else {
            return;
        };
        let (tls, time) = (self.tls.clone(), self.timeout);
        runtime.spawn(async move {
            let token = connection.client.cancel_token();
            if let Ok(Err(error)) = timeout(time, cancel(&token, &connection.address, tls)).await {
                tracing::debug!(%error, "a statement of the PostgreSQL outbox was not cancelled");
            }
            drop((connection, task));
        });
    }

    /// Waits until all tasks have ended.
    pub(crate) async fn finish(&self) {
        // It fails only if the semaphore is closed.
        let _ = self.tasks.acquire_many(MOST).await;
    }
}
