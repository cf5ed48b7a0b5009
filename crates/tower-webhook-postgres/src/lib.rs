//! An outbox for [`tower-webhook`](tower_webhook): deliveries wait in PostgreSQL, outlive the process,
//! and any number of processes on any number of machines deliver them.

mod bounds;
mod builder;
mod claim;
mod command;
mod connect;
mod error;
mod fetch;
mod filter;
mod history;
mod insert;
mod keys;
mod known;
mod lease;
mod migrations;
mod name;
mod outbox;
mod read;
mod settle;
mod sweep;
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
