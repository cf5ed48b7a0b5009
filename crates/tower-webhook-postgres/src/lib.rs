//! An outbox for [`tower-webhook`](tower_webhook) in PostgreSQL: deliveries outlive the process, and any
//! number of processes on any number of machines share them.
//!
//! The end of a response is held back until its delivery is committed, so a caller who has received the whole
//! response can rely on the webhook.
//!
//! ```no_run
//! use tower_webhook::{Dispatcher, WebhookLayer, outbox::SealingKey};
//! use tower_webhook_postgres::PostgresOutbox;
//!
//! # async fn layer() -> Result<WebhookLayer, Box<dyn std::error::Error>> {
//! let key = SealingKey::from_file("webhooks.key")?;
//! let outbox = PostgresOutbox::open("postgres://app:password@db.example/app", key).await?;
//! let dispatcher = Dispatcher::builder().with_outbox(outbox).build();
//! dispatcher.start(); // starts on what is due already
//! Ok(WebhookLayer::new().with_dispatcher(dispatcher))
//! # }
//! ```
//!
//! With settings of its own:
//!
//! ```no_run
//! use std::time::Duration;
//! use tower_webhook::{Dispatcher, RetryPolicy, outbox::SealingKey};
//! use tower_webhook_postgres::PostgresOutbox;
//!
//! # async fn dispatcher() -> Result<Dispatcher, Box<dyn std::error::Error>> {
//! # let (new, old) = ([7; 32], [3; 32]);
//! let outbox = PostgresOutbox::builder("host=db.example user=app dbname=app")
//!     .with_key(SealingKey::from_bytes(new).with_older_key(SealingKey::from_bytes(old)))
//!     .with_schema("webhooks")
//!     .with_root_certificates(std::fs::read("ca.pem")?)?
//!     .with_dead_letters_kept(Duration::from_secs(7 * 24 * 3_600))
//!     .without_migrations()
//!     .open()
//!     .await?;
//! let dispatcher = Dispatcher::builder()
//!     .with_outbox(outbox)
//!     .with_retry_policy(RetryPolicy::standard_webhooks())
//!     .build();
//! # Ok(dispatcher)
//! # }
//! ```
//!
//! All processes that share a schema need the same sealing key.
//!
//! # What is promised
//!
//! An accepted delivery is committed and flushed to the server's disk before the response ends. It survives
//! `kill -9` of this process and of the server, a crash of either machine and a loss of power, provided that
//! the disk honours a flush. Delivery is at least once: attempts that were under way during a crash are
//! repeated.
//!
//! Deliveries are committed with the `synchronous_commit` that is configured for the server, database or user,
//! and with `on` if that is `off`. With a synchronous standby they survive a failover; after a failover to an
//! asynchronous standby the last commits may be missing. Leases and settlements are committed with
//! `synchronous_commit = off`: losing one costs a second delivery. With `fsync = off` on the server, nothing
//! is promised. [`Limits::durability`](tower_webhook::outbox::Limits::durability) is `LocalDisk`, because a
//! client cannot know about standbys.
//!
//! If the server does not take a delivery (it is down, it hangs, its disk is full), the response completes
//! nevertheless, the failure is [reported](tower_webhook::EventKind::OutboxFailed), and the delivery is
//! attempted from memory: it is lost if the process ends before that.
//! [`with_required_durability`](tower_webhook::dispatch::DispatcherBuilder::with_required_durability)
//! refuses such calls instead, once the failure is known. Every call has a
//! [timeout](PostgresOutboxBuilder::with_timeout). A connection on which a call failed is closed,
//! and a statement that timed out is cancelled; reconnecting backs off up to one second.
//!
//! # Leases and clocks
//!
//! A process leases the deliveries that it attempts, and renews the leases three times within their
//! [duration](PostgresOutboxBuilder::with_lease). Leases and due times use the server's clock, so the
//! clients' clocks do not matter. If the server's clock is set back, deliveries wait that much longer.
//! Shutting down releases the leases; those of a killed process expire.
//!
//! # The server
//!
//! PostgreSQL 13 or newer; the tests run against Debian's. All tables are in one
//! [schema](PostgresOutboxBuilder::with_schema). Opening an outbox migrates it, which several processes may
//! do at once. [The SQL can be printed](PostgresOutboxBuilder::migrations) for other migration tools. A schema
//! that was migrated by a newer version is [refused](PostgresOutboxErrorKind::NewerSchema).
//!
//! Without migrations, the user needs `USAGE` on the schema and `SELECT`, `INSERT`, `UPDATE` and `DELETE` on its
//! tables.
//!
//! PgBouncer in transaction mode works: there are no named statements, no `LISTEN`, no session settings and no
//! session locks.
//!
//! Several hosts in the connection string are dialled one after the other, beginning with the one that worked
//! last, and so are the addresses of a name. Each has its share of the [timeout](PostgresOutboxBuilder::with_timeout),
//! or its `connect_timeout` if that is shorter. With several hosts, only one that takes writes is used, as with
//! `target_session_attrs=read-write`: the primary.
//!
//! Transactions are short: no lock is held during an attempt, and changes to many rows run in batches. As for
//! every queue in PostgreSQL, a transaction that stays open elsewhere in the database prevents vacuum from
//! removing dead rows, and slows the queue down.
//!
//! ```sql
//! SELECT id, host, state, attempt, due_at FROM tower_webhook.delivery ORDER BY due_at;
//! ```
//!
//! # Threads and runtimes
//!
//! An outbox has one thread, with a runtime that drives its connections. Calls may come from any number of
//! runtimes, each of which may shut down at any time. Dropping the outbox joins the thread, which
//! takes a few timeouts where the server hangs.
//!
//! # TLS
//!
//! Over TCP, TLS is required, and the certificate has to match the host of the connection string and be
//! trusted by Mozilla's roots or by [the given ones](PostgresOutboxBuilder::with_root_certificates). That
//! applies to every `sslmode` except `disable`, which turns TLS off. Unix sockets do not use TLS.
//!
//! # What is stored in the clear
//!
//! Secrets, endpoint URLs and headers are sealed and bound to the payload. Payloads, hosts, ids and attempt
//! outcomes are stored in the clear. Stored data is not trusted: what is signed and sent is what was accepted,
//! and the endpoint policy is applied before each attempt. A delivery that cannot be opened, because its key is
//! missing or its row was modified, becomes a dead letter and is never sent. Due times, attempt numbers and
//! deletions are not protected against whoever can write the database.

#[cfg(test)]
extern crate self as tower_webhook_postgres; // the shared test support names the crate

mod bounds;
mod builder;
mod cancel;
mod choice;
mod choose;
mod command;
mod config;
mod connect;
mod error;
mod fetch;
mod filter;
mod fleet;
mod hosts;
mod insert;
mod keeping;
mod keys;
mod known;
mod lease;
mod loan;
mod loops;
mod migrations;
mod name;
mod outbox;
mod parts;
mod permits;
mod read;
mod reclaim_times;
mod settle;
mod sweep;
#[cfg(test)]
mod tests;
mod thread;
mod transaction;
mod unheard;
mod upkeep;
mod value;

pub use self::{
    builder::PostgresOutboxBuilder,
    error::{PostgresOutboxError, PostgresOutboxErrorKind},
    migrations::Migration,
    outbox::PostgresOutbox,
};
