use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use tower_webhook::outbox::{Sealing, SealingKey};

use crate::{
    SqliteOutbox, SqliteOutboxError, SqliteOutboxErrorKind,
    clock::Clock,
    dead_letters::DeadLetterBounds,
    history::HistoryBounds,
    owner::SHORTEST_LEASE,
    read_permits::ReadPermits,
    schema, writable,
    writer::{self, WriterSettings},
};

/// Settings of a [`SqliteOutbox`].
///
/// | setting | default |
/// | --- | --- |
/// | [key](Self::with_key) | none: it has to be given |
/// | [dead letters](Self::with_dead_letters_kept) | kept for 30 days |
/// | [their number](Self::with_max_dead_letters) | 1,000,000 |
/// | [their payloads](Self::with_max_dead_letter_bytes) | 1 GiB |
/// | [history](Self::with_max_history) | 100,000 records |
/// | [its bytes](Self::with_max_history_bytes) | 128 MiB |
/// | [its time](Self::with_history_kept) | one day |
/// | [its payloads](Self::with_history_payloads) | none |
/// | [lease](Self::with_lease) | 10 s |
/// | [wait for the lock](Self::with_lock_timeout) | 2 s |
/// | [largest size](Self::with_max_file_size) | 4 GiB |
#[must_use = "a builder does nothing until it is opened"]
pub struct SqliteOutboxBuilder {
    path: PathBuf,
    sealing: Option<Sealing>,
    lost_keys: bool,
    dead_letters: DeadLetterBounds,
    history: HistoryBounds,
    lease: Duration,
    lock_timeout: Duration,
    max_file_size: u64,
    clock: Clock,
}

impl SqliteOutboxBuilder {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            sealing: None,
            lost_keys: false,
            dead_letters: DeadLetterBounds {
                number: 1_000_000,
                bytes: 1 << 30,
                time: Duration::from_secs(30 * 24 * 3_600),
            },
            history: HistoryBounds {
                number: 100_000,
                bytes: 128 << 20,
                time: Duration::from_secs(24 * 3_600),
                keeps_payloads: false,
            },
            lease: Duration::from_secs(10),
            lock_timeout: Duration::from_secs(2),
            max_file_size: 4 << 30,
            clock: Clock::system(),
        }
    }

    /// Seals deliveries with this key.
    pub fn with_key(mut self, key: SealingKey) -> Self {
        self.sealing = Some(Sealing::with_key(key));
        self
    }

    /// Keeps deliveries in the clear: whoever can read the file, or a backup of it, can then sign
    /// deliveries, and whoever can write it can have anything signed and sent. For trying out, and
    /// for where the disk itself is encrypted and nobody else has it.
    pub fn with_insecure_plaintext(mut self) -> Self {
        self.sealing = Some(Sealing::insecure_plaintext());
        self
    }

    /// Starts although deliveries wait that are sealed with a key that was not given. They become
    /// dead letters as they come due, and can be delivered again once the key is back. Default:
    /// [an error](SqliteOutboxErrorKind::UnknownKey), as a wrong key file is the likelier reason.
    pub fn with_lost_keys(mut self) -> Self {
        self.lost_keys = true;
        self
    }

    /// How long dead letters are kept, by the wall clock. Default: 30 days.
    pub fn with_dead_letters_kept(mut self, time: Duration) -> Self {
        self.dead_letters.time = time;
        self
    }

    /// How many dead letters are kept; the oldest go first. Default: 1,000,000. Where several processes
    /// have the file open, each knows of what the others add within a minute.
    pub fn with_max_dead_letters(mut self, number: usize) -> Self {
        self.dead_letters.number = number;
        self
    }

    /// The bytes of all dead letters' payloads; the oldest go first. Default: 1 GiB, a quarter of the
    /// [largest size](Self::with_max_file_size).
    pub fn with_max_dead_letter_bytes(mut self, bytes: u64) -> Self {
        self.dead_letters.bytes = bytes;
        self
    }

    /// How many records the history has: what the endpoints took, and calls that failed, to be listed and to
    /// be looked at by their callers ([`status`](tower_webhook::status())). The oldest go first. Default:
    /// 100,000, which is less than 100 MiB of the file. With 0 there is none.
    pub fn with_max_history(mut self, number: usize) -> Self {
        self.history.number = number;
        self
    }

    /// The bytes of the history: of the sealed envelopes, attempts and payloads in it. The oldest records go
    /// first. Default: 128 MiB, a 32nd of the [largest size](Self::with_max_file_size).
    pub fn with_max_history_bytes(mut self, bytes: u64) -> Self {
        self.history.bytes = bytes;
        self
    }

    /// How long a record stays in the history, by the wall clock, give or take a minute. Default: one day.
    pub fn with_history_kept(mut self, time: Duration) -> Self {
        self.history.time = time;
        self
    }

    /// Keeps what was delivered with its payload, in the clear as other payloads are: it can be delivered
    /// again, and its caller can fetch it. Default: no payloads, as they are what the file has to be kept
    /// from others for.
    ///
    /// Secrets stay for as long as the history, sealed: a caller proves by its own that a call is its own.
    /// Of a file [in the clear](Self::with_insecure_plaintext) that is so with this setting alone; without
    /// it no secret stays, and callers cannot look.
    pub fn with_history_payloads(mut self) -> Self {
        self.history.keeps_payloads = true;
        self
    }

    /// How long a process that has leased deliveries may be silent before another one takes them
    /// over. Default: 10 seconds; 3 at least.
    ///
    /// A process renews what it has leased every second, however long an attempt takes: the lease has
    /// nothing to do with the time of an attempt, and processes that share a file need not have the
    /// same. It is how long what a killed process had under way is held up, give or take 3 seconds;
    /// and a machine that sleeps for longer delivers twice.
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease.max(SHORTEST_LEASE);
        self
    }

    /// How long another connection may hold the file's lock before what waits for it fails.
    /// Default: 2 seconds, less than the dispatcher's
    /// [accept timeout](tower_webhook::dispatch::DispatcherBuilder::with_accept_timeout), until which the
    /// dispatcher tries again. Other processes that have the file open give way after each commit.
    pub fn with_lock_timeout(mut self, time: Duration) -> Self {
        self.lock_timeout = time;
        self
    }

    /// How large the file may become, in bytes, without what is [beside it](crate#the-file). Default:
    /// 4 GiB.
    ///
    /// An eighth of it is for noting what becomes of deliveries. Where a delivery would take some of
    /// that, the history makes room for it, and then dead letters, the oldest first; where there are none, the outbox does
    /// not take it. On a disk that is full the same holds of the size that the file has then.
    pub fn with_max_file_size(mut self, bytes: u64) -> Self {
        self.max_file_size = bytes;
        self
    }

    /// Opens the file, or creates it for its owner alone, and starts the outbox's thread. The log has
    /// a warning where others may read or write the file or its write-ahead log, or where it belongs
    /// to another user, as it has of the key's file. It blocks for as long as
    /// SQLite needs to look through its log, and through a file of up to 64 MiB.
    ///
    /// Nothing is deleted or written over, whatever is found.
    ///
    /// # Errors
    ///
    /// [`kind`](SqliteOutboxError::kind) says what is wrong with the settings or the file.
    pub fn open(self) -> Result<SqliteOutbox, SqliteOutboxError> {
        let sealing = self.sealing.ok_or(SqliteOutboxErrorKind::NoKey)?;
        writable::refuse_read_only(&self.path)?;
        let (conn, files) = schema::open(&self.path, self.lock_timeout, self.max_file_size)?;
        writable::check(&conn, self.lock_timeout)?;
        let unknown = schema::waits_for_key(&conn, |name| !sealing.can_open(name))?;
        if unknown && !self.lost_keys {
            return Err(SqliteOutboxErrorKind::UnknownKey.into());
        }
        if unknown {
            tracing::error!(
                "deliveries wait that are sealed with a lost key: they will not be sent"
            );
        }
        let settings = WriterSettings {
            clock: self.clock,
            lease: self.lease,
            dead_letters: self.dead_letters,
            history: self.history,
            lock_timeout: self.lock_timeout,
            path: self.path.clone(),
            max_file_size: self.max_file_size,
            files: files.clone(),
        };
        Ok(SqliteOutbox {
            commands: writer::start(conn, settings)?,
            sealing,
            files,
            lock_timeout: self.lock_timeout,
            read_permits: ReadPermits::new(),
        })
    }

    #[cfg(test)]
    pub(crate) fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }
}

impl fmt::Debug for SqliteOutboxBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteOutboxBuilder")
            .field("path", &self.path)
            .field("sealing", &self.sealing)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}
