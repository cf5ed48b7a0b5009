use std::{fmt, path::PathBuf, time::Duration};

use tower_webhook::outbox::{Durability, Limits, Sealing, SealingKey};

use crate::{
    JetStreamOutbox, JetStreamOutboxError, JetStreamOutboxErrorKind,
    connect::{ConnectSettings, Login},
    engine::Settings,
    names::Name,
    thread,
};

/// Settings of a [`JetStreamOutbox`].
///
/// | setting | default |
/// | --- | --- |
/// | [key](Self::with_key) | none: it has to be given |
/// | [name](Self::with_name) | `webhooks` |
/// | [replicas](Self::with_replicas) | 3 |
/// | [largest payload](Self::with_max_payload) | 4 MiB |
/// | [lease](Self::with_lease) | 30 s |
/// | [timeout](Self::with_timeout) | 2 s |
/// | [dead letters](Self::with_dead_letters_kept) | kept for 30 days |
/// | [their bytes](Self::with_max_dead_letter_bytes) | 1 GiB |
/// | [credentials](Self::with_credentials_file) | none |
/// | [TLS](Self::with_required_tls) | where the server asks for it |
#[must_use = "a builder does nothing until it is connected"]
pub struct JetStreamOutboxBuilder {
    addresses: String,
    sealing: Option<Sealing>,
    lost_keys: bool,
    name: String,
    replicas: usize,
    max_payload: usize,
    lease: Duration,
    timeout: Duration,
    dead_letters_kept: Duration,
    max_dead_letter_bytes: u64,
    login: Login,
    root_certificates: Option<PathBuf>,
    requires_tls: bool,
}

impl JetStreamOutboxBuilder {
    pub(crate) fn new(addresses: &str) -> Self {
        Self {
            addresses: addresses.to_owned(),
            sealing: None,
            lost_keys: false,
            name: "webhooks".to_owned(),
            replicas: 3,
            max_payload: 4 << 20,
            lease: Duration::from_secs(30),
            timeout: Duration::from_secs(2),
            dead_letters_kept: Duration::from_secs(30 * 24 * 3_600),
            max_dead_letter_bytes: 1 << 30,
            login: Login::Nobody,
            root_certificates: None,
            requires_tls: false,
        }
    }

    /// Seals deliveries with this key. All processes need it, or one that knows it as an older key.
    pub fn with_key(mut self, key: SealingKey) -> Self {
        self.sealing = Some(Sealing::with_key(key));
        self
    }

    /// Keeps deliveries in the clear: whoever can read the stream, or a backup of it, can then sign
    /// deliveries, and whoever can publish to it can have anything signed and sent. For trying out.
    pub fn with_insecure_plaintext(mut self) -> Self {
        self.sealing = Some(Sealing::insecure_plaintext());
        self
    }

    /// Connects even if the oldest delivery is sealed with a key that was not given. What cannot be opened becomes
    /// a dead letter when it is due. Default: [an error](JetStreamOutboxErrorKind::UnknownKey), because a wrong
    /// key file is the likelier cause.
    pub fn with_lost_keys(mut self) -> Self {
        self.lost_keys = true;
        self
    }

    /// The name of the stream, and the beginning of the names of the [others](crate#the-streams) and of
    /// all subjects: of `A-Z a-z 0-9 _ -`, and at most 64 characters. Default: `webhooks`.
    pub fn with_name(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// On how many servers each delivery is kept: 1, 3 or 5. Default: 3, which survives the loss of one
    /// server. With 1 it survives what the server's disk survives.
    pub fn with_replicas(mut self, number: usize) -> Self {
        self.replicas = number;
        self
    }

    /// The largest payload, in bytes. Default: 4 MiB, the dispatcher's default
    /// [body limit](tower_webhook::dispatch::DispatcherBuilder::with_body_limit). The server's `max_payload`
    /// has to be 64 KiB larger, and is 1 MiB unless it is set: [`connect`](Self::connect) fails where it is
    /// too small. A larger payload is delivered from memory, without being kept.
    pub fn with_max_payload(mut self, bytes: usize) -> Self {
        self.max_payload = bytes;
        self
    }

    /// How long a process that has leased deliveries may be silent before another one is given them.
    /// Default: 30 seconds; 1 at least. It is the consumer's `ack_wait`, the same for all processes: the
    /// consumer has to be changed with it.
    ///
    /// Leases are renewed three times in that time, however long an attempt takes. It should be longer
    /// than it takes a cluster to choose another leader, about five seconds: until then nothing is
    /// renewed.
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease.max(Duration::from_secs(1));
        self
    }

    /// How long the server may take to answer. Default: 2 seconds, less than the dispatcher's
    /// [accept timeout](tower_webhook::dispatch::DispatcherBuilder::with_accept_timeout), until which the
    /// dispatcher tries again.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.max(Duration::from_millis(100));
        self
    }

    /// How long dead letters are kept, where this outbox creates their stream. Default: 30 days.
    pub fn with_dead_letters_kept(mut self, time: Duration) -> Self {
        self.dead_letters_kept = time.max(Duration::from_secs(1));
        self
    }

    /// The bytes of all dead letters, where this outbox creates their stream; the oldest go first.
    /// Default: 1 GiB. The server reserves them.
    pub fn with_max_dead_letter_bytes(mut self, bytes: u64) -> Self {
        self.max_dead_letter_bytes = bytes.max(1);
        self
    }

    /// Logs in with this file, which has a token and a key.
    pub fn with_credentials_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.login = Login::CredentialsFile(path.into());
        self
    }

    /// Logs in with a name and a password.
    pub fn with_user(mut self, name: &str, password: &str) -> Self {
        self.login = Login::User {
            name: name.to_owned(),
            password: password.to_owned(),
        };
        self
    }

    /// Logs in with a token.
    pub fn with_token(mut self, token: &str) -> Self {
        self.login = Login::Token(token.to_owned());
        self
    }

    /// Trusts the certificates in this PEM file, beside those of the system.
    pub fn with_root_certificates(mut self, path: impl Into<PathBuf>) -> Self {
        self.root_certificates = Some(path.into());
        self
    }

    /// Connects with TLS alone. Default: where the server asks for it, or the address begins with
    /// `tls://`.
    pub fn with_required_tls(mut self) -> Self {
        self.requires_tls = true;
        self
    }

    /// Connects, creates the [streams](crate#the-streams) where they are missing, and starts the outbox's
    /// thread. Streams that are there are looked at and never changed.
    ///
    /// # Errors
    ///
    /// [`kind`](JetStreamOutboxError::kind) says what does not fit of the settings, the server or the
    /// streams, and the sentence says what it is there and what it has to be.
    pub async fn connect(self) -> Result<JetStreamOutbox, JetStreamOutboxError> {
        let sealing = self.sealing.ok_or(JetStreamOutboxErrorKind::NoKey)?;
        let durability = match self.replicas {
            0..=2 => Durability::LocalDisk,
            _ => Durability::Replicated,
        };
        let mut limits = Limits::new(durability);
        limits.max_payload = Some(self.max_payload);
        limits.lease = Some(self.lease);
        let engine = Settings {
            name: Name::new(&self.name)?,
            replicas: self.replicas,
            lease: self.lease,
            timeout: self.timeout,
            dead_letters_kept: self.dead_letters_kept,
            max_dead_letter_bytes: self.max_dead_letter_bytes,
            max_payload: self.max_payload,
        };
        let settings = ConnectSettings {
            addresses: self.addresses,
            login: self.login,
            root_certificates: self.root_certificates,
            requires_tls: self.requires_tls,
            keys: (!self.lost_keys).then(|| sealing.clone()),
            engine,
        };
        Ok(JetStreamOutbox {
            thread: thread::start(settings).await?,
            sealing,
            limits,
        })
    }
}

/// The address may have a password in it.
impl fmt::Debug for JetStreamOutboxBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStreamOutboxBuilder")
            .field("sealing", &self.sealing)
            .field("name", &self.name)
            .field("replicas", &self.replicas)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}
