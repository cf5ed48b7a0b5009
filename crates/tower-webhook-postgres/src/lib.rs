//! An outbox for [`tower-webhook`](tower_webhook): deliveries wait in PostgreSQL, outlive the process,
//! and any number of processes on any number of machines deliver them.
//!
//! The end of a response is held back until its delivery is committed, so a caller who has seen all of
//! its response can rely on the webhook.
//!
//! ```no_run
//! use tower_webhook::{Dispatcher, WebhookLayer, outbox::SealingKey};
//! use tower_webhook_postgres::PostgresOutbox;
//!
//! # async fn layer() -> Result<WebhookLayer, Box<dyn std::error::Error>> {
//! let key = SealingKey::from_file("webhooks.key")?;
//! let outbox = PostgresOutbox::open("postgres://app:password@db.example/app", key).await?;
//! let dispatcher = Dispatcher::builder().with_outbox(outbox).build();
//! dispatcher.start(); // what is due already is delivered at once
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
//! Every process that shares a schema needs the same sealing key: give it as a file or a secret of the
//! deployment.
//!
//! # What is promised
//!
//! A delivery that was taken is committed, and the server has been told to write it to its disk: it
//! survives `kill -9` of this process and of the server, a crash of either system and a loss of power, as
//! far as the server's disk does what it is told. It is delivered at least once: after a crash, what was
//! under way is delivered again.
//!
//! Deliveries are committed with `synchronous_commit` as the server, the database or the user has it, and
//! with `on` where that is `off`. With a synchronous standby they survive a failover; an asynchronous one
//! lacks the last commits. Leases and what becomes of deliveries are committed with `off`: lost with the
//! server, they cost a second delivery. A server with `fsync = off` keeps no promise, and cannot be told
//! from others reliably. [`Limits::durability`](tower_webhook::outbox::Limits::durability) says
//! `LocalDisk`, as no standby is known of.
//!
//! When the server does not take a delivery (it is away, it hangs, its disk is full), the response
//! completes all the same, the failure is [reported](tower_webhook::EventKind::OutboxFailed), and the
//! delivery is attempted from memory: until it is, it is lost if the process ends.
//! [`with_required_durability`](tower_webhook::dispatch::DispatcherBuilder::with_required_durability)
//! accepts nothing instead, from when that is known. Each call has a
//! [timeout](PostgresOutboxBuilder::with_timeout); a connection on which something failed is closed, and
//! another one is opened, later and later while that fails (up to a second).
//!
//! # Leases and clocks
//!
//! A process leases what it attempts, for [10 seconds](PostgresOutboxBuilder::with_lease) that it renews
//! again and again. Leases and due times are by the server's clock: the clocks of the processes do not
//! matter. A server whose clock is set back lets deliveries wait for that much longer. A process that
//! is closed hands its leases back at once; those of one that was killed run out.
//!
//! # The server
//!
//! PostgreSQL 13 or newer; it is tested with 15. All tables are in one
//! [schema](PostgresOutboxBuilder::with_schema). Opening an outbox migrates it, which several processes may
//! do at the same time; [the SQL can be printed](PostgresOutboxBuilder::migrations) for those who run
//! migrations of their own. A schema that a newer version has migrated is
//! [refused](PostgresOutboxErrorKind::NewerSchema).
//!
//! A user that creates nothing needs `USAGE` on the schema, and `SELECT`, `INSERT`, `UPDATE` and `DELETE`
//! on its tables.
//!
//! PgBouncer in transaction mode is fine: nothing is kept in a session. Statements have no names, every
//! setting is `SET LOCAL`, nobody listens for notifications, locks end with their transactions. Connect
//! to the primary: `target_session_attrs=read-write` finds it among several hosts.
//!
//! Transactions are short: no lock is held while a delivery is attempted, and what touches many rows is done
//! some hundreds at a time. A transaction that somebody else leaves open in the same database keeps
//! PostgreSQL from removing dead rows, and every queue in it becomes slower: watch for those.
//!
//! ```sql
//! SELECT id, host, state, attempt, due_at FROM tower_webhook.delivery ORDER BY due_at;
//! ```
//!
//! # Threads and runtimes
//!
//! An outbox has a thread of its own, with a runtime of its own that carries its connections. Calls may
//! come from any number of runtimes, and each may end at any time. Dropping the outbox waits for the
//! thread.
//!
//! # TLS
//!
//! Over TCP a server has to speak TLS, with a certificate for the host that the connection string names:
//! from the roots that browsers trust, or from
//! [those that are given](PostgresOutboxBuilder::with_root_certificates). That is so whatever `sslmode`
//! says, but for `sslmode=disable`, which turns TLS off. Over a Unix socket there is none.
//!
//! # What is in the clear
//!
//! Secrets, endpoints and headers are sealed, and bound to the payload. Payloads, hosts, ids and how
//! attempts ended are in the clear. What is read is not trusted: what is signed and sent is what was
//! accepted, and every endpoint is judged by the dispatcher's policy before each attempt. What cannot be read
//! any more, as its key is gone or its row was changed, becomes a dead letter and is never sent. What is not
//! bound to the envelope is when a delivery is due, how often it was attempted, and that it is gone.

#[cfg(test)]
extern crate self as tower_webhook_postgres; // what the tests share names the crate

mod bounds;
mod builder;
mod choice;
mod claim;
mod command;
mod config;
mod connect;
mod error;
mod fetch;
mod filter;
mod insert;
mod keeping;
mod keys;
mod known;
mod lease;
mod loops;
mod migrations;
mod name;
mod outbox;
mod read;
mod settle;
mod sweep;
#[cfg(test)]
mod tests;
mod text;
mod thread;
mod transaction;
mod upkeep;
mod value;

pub use self::{
    builder::PostgresOutboxBuilder,
    error::{PostgresOutboxError, PostgresOutboxErrorKind},
    migrations::Migration,
    outbox::PostgresOutbox,
};
