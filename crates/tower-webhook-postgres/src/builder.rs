use std::{fmt, time::Duration};

use rustls::RootCertStore;
use tokio::sync::oneshot;
use tower_webhook::outbox::{Sealing, SealingKey};

use crate::{
    Migration, PostgresOutbox, PostgresOutboxError, PostgresOutboxErrorKind as Kind,
    bounds::{Bounds, HistorySettings},
    command::Thread,
    config,
    connect::{self, Connector},
    fleet::FleetLimit,
    name::SchemaName,
    thread::{self, Settings},
    transaction::Transactions,
};

/// Settings of a [`PostgresOutbox`].
///
/// | setting | default |
/// | --- | --- |
/// | [key](Self::with_key) | none, required |
/// | [schema](Self::with_schema) | `tower_webhook` |
/// | [root certificates](Self::with_root_certificates) | Mozilla's |
/// | [connections](Self::with_max_connections) | 8 at most |
/// | [timeout](Self::with_timeout) | 4 s |
/// | [lease](Self::with_lease) | 10 s |
/// | [leases of one host](Self::with_max_leased_per_host), over all processes | no limit |
/// | [migrations](Self::without_migrations) | run when opened |
/// | [dead letters](Self::with_dead_letters_kept) | kept for 30 days |
/// | [their number](Self::with_max_dead_letters) | 1,000,000 |
/// | [their payloads](Self::with_max_dead_letter_bytes) | 1 GiB |
/// | [history](Self::with_max_history) | 100,000 records |
/// | [its bytes](Self::with_max_history_bytes) | 128 MiB |
/// | [its time](Self::with_history_kept) | one day |
/// | [its payloads](Self::with_history_payloads) | none |
#[must_use = "a builder does nothing until it is opened"]
pub struct PostgresOutboxBuilder {
    url: String,
    sealing: Option<Sealing>,
    lost_keys: bool,
    schema: String,
    roots: Option<RootCertStore>,
    connections: usize,
    timeout: Duration,
    lease: Duration,
    fleet_limit: Option<FleetLimit>,
    migrates: bool,
    pub(crate) dead_letters: Bounds,
    pub(crate) history: HistorySettings,
}

/// A longer timeout would be none, and clocks have an end.
const DAY: Duration = Duration::from_secs(24 * 3_600);

impl PostgresOutboxBuilder {
    pub(crate) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            sealing: None,
            lost_keys: false,
            schema: "tower_webhook".to_owned(),
            roots: None,
            connections: 8,
            timeout: Duration::from_secs(4),
            lease: Duration::from_secs(10),
            fleet_limit: None,
            migrates: true,
            dead_letters: Bounds {
                number: 1_000_000,
                bytes: 1 << 30,
                time: 30 * DAY,
            },
            history: HistorySettings {
                bounds: Bounds {
                    number: 100_000,
                    bytes: 128 << 20,
                    time: DAY,
                },
                keeps_payloads: false,
            },
        }
    }

    /// Seals deliveries with this key.
    pub fn with_key(mut self, key: SealingKey) -> Self {
        self.sealing = Some(Sealing::with_key(key));
        self
    }

    /// Stores deliveries without sealing: whoever can read the database or a backup can then sign
    /// deliveries, and whoever can write it can have anything signed and sent. For trials.
    pub fn with_insecure_plaintext(mut self) -> Self {
        self.sealing = Some(Sealing::insecure_plaintext());
        self
    }

    /// Opens even if waiting deliveries are sealed with a key that was not given. They become dead letters
    /// when they are due, and can be redelivered once the key is back. Default:
    /// [an error](Kind::UnknownKey), because a wrong key file is the likelier cause. Only the 1,024 deliveries
    /// that are due the longest and the 1,024 newest are checked.
    pub fn with_lost_keys(mut self) -> Self {
        self.lost_keys = true;
        self
    }

    /// The schema of the tables, unquoted. Default: `tower_webhook`. Outboxes with different schemas are
    /// independent.
    pub fn with_schema(mut self, name: impl Into<String>) -> Self {
        self.schema = name.into();
        self
    }

    /// Trusts these root certificates, in PEM, and no others. Default: Mozilla's. See [TLS](crate#tls).
    ///
    /// # Errors
    ///
    /// [`InvalidRoots`](Kind::InvalidRoots) if it is not PEM or contains no certificate.
    pub fn with_root_certificates(
        mut self,
        pem: impl AsRef<[u8]>,
    ) -> Result<Self, PostgresOutboxError> {
        self.roots = Some(connect::roots_from_pem(pem.as_ref())?);
        Ok(self)
    }

    /// The most connections to the server. Default: 8, at least 1. Inserts, fetches, settlements, renewals and
    /// upkeep use one each while they run. Administrative calls use five at most: two for lists, payloads and
    /// changes of many deliveries, two for look-ups by id, and one for changes of one delivery and for the age of
    /// the one that is due the longest. So with ten nothing waits for a connection, and with eight three are
    /// always left for deliveries. Cancelling what timed out opens another one for a moment.
    pub fn with_max_connections(mut self, number: usize) -> Self {
        self.connections = number.max(1);
        self
    }

    /// The timeout of a transaction, connecting included. Default: 4 seconds, at least 10 ms, at most a day. That
    /// is less than the dispatcher's
    /// [accept timeout](tower_webhook::dispatch::DispatcherBuilder::with_accept_timeout), within which the
    /// dispatcher retries. Administrative reads have at least 30 seconds.
    ///
    /// It is also the server's `statement_timeout`, so that abandoned statements end. A call that timed out is
    /// cancelled, for which a connection is opened, and its own connection is closed. Very large payloads over a
    /// slow network need a longer timeout.
    pub fn with_timeout(mut self, time: Duration) -> Self {
        self.timeout = time.clamp(Duration::from_millis(10), DAY);
        self
    }

    /// How long a lease lasts without renewal, by the server's clock. Default: 10 seconds, at least 100 ms,
    /// at most a day.
    ///
    /// The dispatcher renews leases three times in that time, however long an attempt takes. It is the delay
    /// before the deliveries of a killed process are attempted elsewhere, and half as long again after the
    /// server was away, so that everybody can renew first. A process that alone is cut off from the server for
    /// longer loses its leases, and those deliveries are made twice.
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease.clamp(Duration::from_millis(100), DAY);
        self
    }

    /// The most deliveries of one endpoint host that are leased at the same time, by all processes that share
    /// the outbox and set this. Default: no limit; 1 at least.
    ///
    /// It bounds the attempts to a host over the fleet: the dispatcher's
    /// [limit](tower_webhook::dispatch::DispatcherBuilder::with_max_attempts_per_host) is each process's own,
    /// and N processes make N times as many. A delivery that is leased may wait in its process for a permit, so
    /// set this to the number of attempts that a receiver may get, or a little above.
    ///
    /// With it a delivery is not leased when it is inserted, but fetched: one more read, and up to a second
    /// until another process has room. What is delivered from memory as the server is away is not counted.
    pub fn with_max_leased_per_host(mut self, number: usize) -> Self {
        self.fleet_limit = Some(FleetLimit(number.max(1)));
        self
    }

    /// Does not migrate: opening fails if a [migration](Self::migrations) is missing. For database users that
    /// may not create tables.
    pub fn without_migrations(mut self) -> Self {
        self.migrates = false;
        self
    }

    /// The SQL of the migrations, for other migration tools. Does not connect.
    ///
    /// ```
    /// use tower_webhook_postgres::PostgresOutbox;
    ///
    /// for migration in PostgresOutbox::builder("").with_schema("webhooks").migrations()? {
    ///     println!("-- {}\n{}", migration.version(), migration.sql());
    /// }
    /// # Ok::<(), tower_webhook_postgres::PostgresOutboxError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidSchemaName`](Kind::InvalidSchemaName).
    pub fn migrations(&self) -> Result<Vec<Migration>, PostgresOutboxError> {
        Ok(Migration::all(&SchemaName::new(&self.schema)?))
    }

    /// Starts the outbox's thread, connects, and migrates the schema if needed.
    ///
    /// # Errors
    ///
    /// [`kind`](PostgresOutboxError::kind) says what is wrong with the settings, the server or the schema. An
    /// unreachable server is an error here; an open outbox reconnects.
    ///
    /// # Cancellation
    ///
    /// Dropping the future ends the thread and cancels its statement, without waiting for either.
    pub async fn open(self) -> Result<PostgresOutbox, PostgresOutboxError> {
        let sealing = self.sealing.clone().ok_or(Kind::NoKey)?;
        let schema = SchemaName::new(&self.schema)?;
        let transactions = self.transactions(&schema)?;
        let settings = Settings {
            schema,
            sealing: sealing.clone(),
            lost_keys: self.lost_keys,
            migrates: self.migrates,
            timeout: self.timeout,
            lease: self.lease,
            fleet_limit: self.fleet_limit,
            dead_letters: self.dead_letters,
            history: self.history,
        };
        let (ready, is_ready) = oneshot::channel();
        // Dropping a handle detaches its thread. Where this future is dropped, nothing blocks its runtime.
        let (senders, handle) = thread::start(transactions, settings, ready)?;
        is_ready.await.map_err(|_| Kind::Gone)??;
        Ok(PostgresOutbox {
            thread: Thread::new(senders, handle),
            sealing,
            lease: self.lease,
            leases_on_insert: self.fleet_limit.is_none(),
        })
    }

    pub(crate) fn transactions(
        &self,
        schema: &SchemaName,
    ) -> Result<Transactions, PostgresOutboxError> {
        let roots = self.roots.clone().unwrap_or_else(connect::public_roots);
        Transactions::new(
            Connector::new(config::read(&self.url, self.timeout)?, roots, self.timeout)?,
            self.connections,
            schema,
            self.timeout,
        )
    }
}

impl fmt::Debug for PostgresOutboxBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOutboxBuilder")
            .field("sealing", &self.sealing)
            .field("schema", &self.schema)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}
