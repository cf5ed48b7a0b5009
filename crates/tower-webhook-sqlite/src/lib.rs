//! An outbox for [`tower-webhook`](tower_webhook): deliveries wait in a SQLite file, and outlive the
//! process.
//!
//! The end of a response is held back until its delivery is on the disk, so a caller who has seen
//! all of its response can rely on the webhook.
//!
//! ```
//! use tower_webhook::{Dispatcher, WebhookLayer, outbox::SealingKey};
//! use tower_webhook_sqlite::SqliteOutbox;
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
//! use tower_webhook::{Dispatcher, RetryPolicy, outbox::SealingKey};
//! use tower_webhook_sqlite::SqliteOutbox;
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
//! The tests check a loss of power on a file system that forgets what was not synced, or keeps some of it in
//! any order, down to sectors; names of new files and folders are forgotten until their folder is synced.
//!
//! When the file does not take a delivery (the disk is full, the lock is held), the response
//! completes all the same, the failure is [reported](tower_webhook::EventKind::OutboxFailed), and the
//! delivery is attempted from memory: until it is, it is lost if the process ends.
//! [`with_required_durability`](tower_webhook::dispatch::DispatcherBuilder::with_required_durability)
//! accepts nothing instead, from when that is known.
//!
//! So it is once the file, or what belongs to it, is deleted or replaced under the process: nobody would
//! find again what is written to it. What it had taken before is delivered for as long as the process
//! lives; a restart opens, or creates, what is at the path by then.
//!
//! What was taken is delivered on a full disk, too. There is room for noting what becomes of
//! deliveries, of which no new one takes anything; dead letters make room before a delivery is refused.
//!
//! Two calls with the same request id are two deliveries: request ids are chosen by callers, and one
//! caller must not be able to take another's webhook by asking with its id first.
//!
//! # The file
//!
//! It must be on a local disk: not on NFS or another network share. Beside it there are `-wal`, its log,
//! and `-shm`, which belong to it; and `-spare`, a file of zeros that is as long as the log has been. It
//! is removed when the disk is full, for what has to be written then, and may be removed at any time.
//!
//! The file has at most 4 GiB ([setting](SqliteOutboxBuilder::with_max_file_size)). Log and spare file
//! have some 16 MiB each, and 64 MiB at most while deliveries are taken, one group of deliveries more:
//! nothing new is taken where something reads an old view of the file for so long that its log cannot
//! begin anew.
//!
//! Several processes on one machine may have it open, as in a rolling
//! restart; each leases deliveries for itself, and what a process that is gone had leased is due
//! again after the [lease](SqliteOutboxBuilder::with_lease).
//!
//! `sqlite3` can read it, times being milliseconds since 1970:
//!
//! ```sql
//! SELECT id, host, state, attempt, datetime(due_at / 1000, 'unixepoch') FROM delivery;
//! ```
//!
//! Secrets, endpoints and headers are sealed, and bound to the payload. Payloads, and what the columns
//! beside them say, are in the clear: the file is created for its owner alone. What is read from it
//! is not trusted: what is signed and sent is what was accepted, and every endpoint is judged by the
//! dispatcher's policy before each attempt. What cannot be read any more, as its key is gone or its
//! row was changed, becomes a dead letter and is never sent; so does what was sent and cannot be
//! removed. A file whose schema is not the one that this crate creates is [refused]: it has a trigger,
//! a view or another index, say. What is not bound to the envelope is when a delivery is due, how
//! often it was attempted, and that it is gone: who writes a row back that was delivered has it
//! delivered once more, and the receiver knows it by its id.
//!
//! What is delivered, cancelled or expired is overwritten with zeros, in the file at once and in its
//! log as soon as nobody writes, or within about a minute.
//!
//! [refused]: SqliteOutboxErrorKind::ChangedSchema
//!
//! # Time
//!
//! Due times are by the wall clock, as they have to survive a restart. Set forward, it makes
//! deliveries due early. Set back, it makes none wait longer than the delay that was asked for,
//! counted from then.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod access;
mod builder;
mod clock;
mod command;
mod damaged;
mod dead_letters;
mod error;
mod fetch;
mod filter;
mod history;
mod insert;
mod intact;
mod lease;
mod log;
mod open_files;
mod outbox;
mod owner;
mod parts;
mod read;
mod read_permits;
mod room;
mod schema;
mod schema_check;
mod settle;
mod spare;
mod strays;
mod sweep;
#[cfg(test)]
mod tests;
mod text;
mod turns;
mod upkeep;
mod writable;
mod writer;

pub use self::{
    builder::SqliteOutboxBuilder,
    error::{SqliteOutboxError, SqliteOutboxErrorKind},
    outbox::SqliteOutbox,
};
