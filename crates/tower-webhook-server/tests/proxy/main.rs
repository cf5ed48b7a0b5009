//! `tower-webhook proxy` and `worker`, as processes between real sockets.

#![cfg(unix)]

mod admin;
mod again;
mod answers;
mod arguments;
mod calls;
mod deliveries;
mod drain;
mod http2;
mod keys;
mod leaving;
mod messages;
mod metrics;
mod nats;
mod options;
mod postgres;
mod raw;
mod refused;
mod runs;
mod status;
mod streams;
mod terminal;
mod tls;
mod worker;
mod world;

#[path = "../../../../tests/support/process.rs"]
mod process;
#[path = "../../../../tests/support/promtool.rs"]
mod promtool;

mod sqlite;

#[allow(dead_code)] // other tests use more of it
#[path = "../../../tower-webhook-nats/tests/support/server.rs"]
mod nats_server;
#[path = "../../../tower-webhook-postgres/tests/support/mod.rs"]
mod postgres_support;

#[allow(dead_code)] // other tests use more of it
#[path = "../../../tower-webhook-sqlite/tests/file/scene.rs"]
mod scene;

use process::Process;

/// The binary that cargo has built for these tests.
const BINARY: &str = env!("CARGO_BIN_EXE_tower-webhook");

fn proxy(args: &[&str], env: &[(&str, &str)]) -> Process {
    Process::start(BINARY, &[&["proxy"], args].concat(), env)
}
