use std::{fmt, time::Duration};

use rustls::RootCertStore;
use tokio::sync::oneshot;
use tower_webhook::outbox::{Sealing, SealingKey};

use crate::{
    Migration, PostgresOutbox, PostgresOutboxError, PostgresOutboxErrorKind as Kind,
    bounds::{Bounds, HistorySettings},
    config,
    connect::{self, Connector},
    name::SchemaName,
    thread::{self, Settings},
    transaction::Transactions,
};

/// Settings of a [`PostgresOutbox`].
///
/// | setting | default |
/// | --- | --- |
/// | [key](Self::with_key) | none: it has to be given |
/// | [schema](Self::with_schema) | `tower_webhook` |
/// | [roots of trust](Self::with_root_certificates) | those that browsers trust |
/// | [connections](Self::with_max_connections) | 8 at most |
/// | [timeout](Self::with_timeout) | 4 s |
/// | [lease](Self::with_lease) | 10 s |
/// | [migrations](Self::without_migrations) | run when it is opened |
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
    migrates: bool,
    pub(crate) dead_letters: Bounds,
    pub(crate) history: HistorySettings,
}

impl PostgresOutboxBuilder {
    pub(crate) fn new(url: &str) -> Self {
        let days = |days: u64| Duration::from_secs(days * 24 * 3_600);
        Self {
            url: url.to_owned(),
            sealing: None,
            lost_keys: false,
            schema: "tower_webhook".to_owned(),
            roots: None,
            connections: 8,
            timeout: Duration::from_secs(4),
            lease: Duration::from_secs(10),
            migrates: true,
            dead_letters: Bounds {
                number: 1_000_000,
                bytes: 1 << 30,
                time: days(30),
            },
            history: HistorySettings {
                bounds: Bounds {
                    number: 100_000,
                    bytes: 128 << 20,
                    time: days(1),
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

    /// Keeps deliveries in the clear: whoever can read the database, or a backup of it, can then sign
    /// deliveries, and whoever can write it can have anything signed and sent. For trying out.
    pub fn with_insecure_plaintext(mut self) -> Self {
        self.sealing = Some(Sealing::insecure_plaintext());
        self
    }

    /// Starts although deliveries wait that are sealed with a key that was not given. They become dead
    /// letters as they come due, and can be delivered again once the key is back. Default:
    /// [an error](Kind::UnknownKey), as a wrong key file is the likelier reason.
    pub fn with_lost_keys(mut self) -> Self {
        self.lost_keys = true;
        self
    }

    /// The schema that the tables are in, by its plain name: it is quoted, whatever is in it. Default:
    /// `tower_webhook`. Outboxes with different schemas have nothing to do with each other.
    pub fn with_schema(mut self, name: impl Into<String>) -> Self {
        self.schema = name.into();
        self
    }

    /// Trusts servers whose certificates come from one of these roots, in PEM, and no others. Default:
    /// those that browsers trust. See [TLS](crate#tls).
    ///
    /// # Errors
    ///
    /// [`InvalidRoots`](Kind::InvalidRoots) where that is not PEM, or there is no certificate in it.
    pub fn with_root_certificates(
        mut self,
        pem: impl AsRef<[u8]>,
    ) -> Result<Self, PostgresOutboxError> {
        self.roots = Some(connect::roots_from_pem(pem.as_ref())?);
        Ok(self)
    }

    /// How many connections to the server there are at most. Default: 8; 1 at least. Inserting,
    /// fetching, settling, renewing and looking after the tables take one each while they are at it,
    /// and what people ask for takes two.
    pub fn with_max_connections(mut self, number: usize) -> Self {
        self.connections = number.max(1);
        self
    }

    /// How long a call may take, connecting included, before it fails. Default: 4 seconds, less than the
    /// dispatcher's
    /// [accept timeout](tower_webhook::dispatch::DispatcherBuilder::with_accept_timeout), until which the
    /// dispatcher tries again. What reads for people may take 30 seconds at least.
    ///
    /// The server is told of it (`statement_timeout`), so that it does not go on with what nobody waits
    /// for. A connection on which something has timed out is closed.
    pub fn with_timeout(mut self, time: Duration) -> Self {
        self.timeout = time.max(Duration::from_millis(10));
        self
    }

    /// How long a lease runs that is not renewed, by the server's clock. Default: 10 seconds; 100 ms at
    /// least.
    ///
    /// Leases are renewed three times in that time, however long an attempt takes. It is how long what a
    /// killed process had under way is held up; and a process that is away from the server for longer
    /// loses what it had leased to others, which deliver it again.
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease.max(Duration::from_millis(100));
        self
    }

    /// Changes no table: opening fails where a [migration](Self::migrations) is missing. For users of the
    /// database that may not create tables.
    pub fn without_migrations(mut self) -> Self {
        self.migrates = false;
        self
    }

    /// The SQL that makes the tables, for those who run migrations of their own: nothing is connected to.
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

    /// Connects, migrates the schema where that is needed, and starts the outbox's thread.
    ///
    /// # Errors
    ///
    /// [`kind`](PostgresOutboxError::kind) says what is wrong with the settings, the server or the
    /// schema. A server that cannot be reached is an error here; later it is waited for.
    pub async fn open(self) -> Result<PostgresOutbox, PostgresOutboxError> {
        let sealing = self.sealing.ok_or(Kind::NoKey)?;
        let schema = SchemaName::new(&self.schema)?;
        let roots = self.roots.unwrap_or_else(connect::public_roots);
        let transactions = Transactions::new(
            config::read(&self.url, self.timeout)?,
            Connector::new(roots)?,
            self.connections,
            &schema,
            self.timeout,
        )?;
        let settings = Settings {
            schema,
            sealing: sealing.clone(),
            lost_keys: self.lost_keys,
            migrates: self.migrates,
            timeout: self.timeout,
            lease: self.lease,
            dead_letters: self.dead_letters,
            history: self.history,
        };
        let (ready, is_ready) = oneshot::channel();
        let thread = thread::start(transactions, settings, ready)?;
        is_ready.await.map_err(|_| Kind::Gone)??;
        Ok(PostgresOutbox {
            thread,
            sealing,
            lease: self.lease,
        })
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
