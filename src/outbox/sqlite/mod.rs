//! Deliveries wait in a SQLite file, and outlive the process.
//!
//! The end of a response is held back until its delivery is on the disk, so a caller who has seen
//! all of its response can rely on the webhook.
//!
//! ```
//! use tower_webhook::{
//!     Dispatcher, WebhookLayer,
//!     outbox::sqlite::{SealingKey, SqliteOutbox},
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let (file, key_file) = (folder.path().join("webhooks"), folder.path().join("key"));
//! let key = SealingKey::from_file_or_new(key_file)?;
//! let outbox = SqliteOutbox::open(file, key)?;
//! let dispatcher = Dispatcher::builder().with_outbox(outbox).build();
//! dispatcher.start(); // what an earlier run has left is delivered at once
//! let layer = WebhookLayer::new().with_dispatcher(dispatcher);
//! # Ok(())
//! # }
//! ```
//!
//! With settings of its own:
//!
//! ```
//! use std::time::Duration;
//! use tower_webhook::{
//!     Dispatcher, RetryPolicy,
//!     outbox::sqlite::{SealingKey, SqliteOutbox},
//! };
//!
//! # let folder = tempfile::tempdir()?;
//! # let file = folder.path().join("webhooks");
//! # let (new, old) = ([7; 32], [3; 32]);
//! let outbox = SqliteOutbox::builder(file)
//!     .with_key(SealingKey::from_bytes(new).with_older_key(SealingKey::from_bytes(old)))
//!     .with_dead_letters_kept(Duration::from_secs(7 * 24 * 3_600))
//!     .with_max_file_size(10 << 30)
//!     .open()?;
//! let dispatcher = Dispatcher::builder()
//!     .with_outbox(outbox)
//!     .with_retry_policy(RetryPolicy::standard_webhooks())
//!     .build();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is promised
//!
//! A delivery that was taken survives `kill -9`, a crash of the system and a loss of power, as far
//! as the disk does what it is told when it is told to sync; it does not survive the disk. It is
//! delivered at least once: after a crash, what was under way is delivered again.
//!
//! When the file does not take a delivery (the disk is full, the lock is held), the response
//! completes all the same, the failure is [reported](crate::EventKind::OutboxFailed), and the
//! delivery is attempted from memory.
//!
//! Two deliveries of the same id are two deliveries: ids are chosen by callers, and one caller must
//! not be able to take another's webhook by asking with its id first.
//!
//! # The file
//!
//! It must be on a local disk: not on NFS or another network share. Beside it there are `-wal` and
//! `-shm`, which belong to it. Several processes on one machine may have it open, as in a rolling
//! restart; each claims deliveries for itself, and what a process that is gone had claimed is due
//! again after the [lease](SqliteOutboxBuilder::with_lease).
//!
//! `sqlite3` can read it, times being milliseconds since 1970:
//!
//! ```sql
//! SELECT id, host, state, attempt, datetime(due_at / 1000, 'unixepoch') FROM delivery;
//! ```
//!
//! Secrets are sealed. Payloads, endpoints and headers are in the clear: the file is created for
//! its owner alone. What is read from it is not trusted: every endpoint is parsed again, and
//! judged by the dispatcher's policy before each attempt. What cannot be read any more, such as a
//! secret whose key is gone, becomes a dead letter and is never sent.
//!
//! # Time
//!
//! Due times are by the wall clock, as they have to survive a restart. Set forward, it makes
//! deliveries due early. Set back, it makes none wait longer than the delay that was asked for,
//! counted from then.

mod answer;
mod builder;
mod change;
mod choice;
mod claim;
mod clock;
mod command;
mod error;
mod filter;
mod group;
mod held;
mod hold;
mod insert;
mod key;
mod key_file;
mod ledger;
mod memory;
mod owner;
mod pick;
mod schema;
mod secrets;
mod sink;
mod source;
#[cfg(test)]
mod tests;
mod text;
mod thread;
mod upkeep;
mod writer;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

pub use self::{
    builder::SqliteOutboxBuilder,
    claim::SqliteClaim,
    error::{SqliteOutboxError, SqliteOutboxErrorKind},
    key::SealingKey,
    ledger::SqliteLedger,
    sink::SqliteSink,
    source::SqliteSource,
};
use self::{command::Handle, secrets::Secrets};
use super::Outbox;

/// Deliveries wait in a SQLite file; see the [module](self).
///
/// A thread of its own writes, until the last of the outbox's ends and claims is gone.
pub struct SqliteOutbox {
    handle: Handle,
    secrets: Arc<Secrets>,
    path: Arc<PathBuf>,
    lock_timeout: Duration,
    poll: Duration,
}

impl SqliteOutbox {
    /// Opens this file, or creates it, with every default. It blocks meanwhile.
    ///
    /// # Errors
    ///
    /// As [`SqliteOutboxBuilder::open`].
    pub fn open(path: impl AsRef<Path>, key: SealingKey) -> Result<Self, SqliteOutboxError> {
        Self::builder(path).with_key(key).open()
    }

    /// Settings for this file.
    pub fn builder(path: impl AsRef<Path>) -> SqliteOutboxBuilder {
        SqliteOutboxBuilder::new(path.as_ref())
    }
}

impl Outbox for SqliteOutbox {
    type Sink = SqliteSink;
    type Source = SqliteSource;
    type Ledger = SqliteLedger;

    fn split(self) -> (SqliteSink, SqliteSource, SqliteLedger) {
        let sink = SqliteSink::new(self.handle.clone(), Arc::clone(&self.secrets));
        let source = SqliteSource::new(self.handle.clone(), self.secrets, self.poll);
        (
            sink,
            source,
            SqliteLedger::new(self.handle, self.path, self.lock_timeout),
        )
    }
}

impl fmt::Debug for SqliteOutbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteOutbox").finish_non_exhaustive()
    }
}
