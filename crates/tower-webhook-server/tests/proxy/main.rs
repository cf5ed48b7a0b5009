//! `tower-webhook proxy`, as a process between real sockets.

#![cfg(unix)]

mod again;
mod answers;
mod arguments;
mod calls;
mod drain;
mod http2;
mod keys;
mod leaving;
mod messages;
mod options;
mod raw;
mod refused;
mod runs;
mod status;
mod streams;
mod tls;
mod world;

#[path = "../../../../tests/support/process.rs"]
mod process;

mod sqlite;

#[allow(dead_code)] // other tests use more of it
#[path = "../../../tower-webhook-sqlite/tests/file/scene.rs"]
mod scene;

use process::Process;

/// The binary that cargo has built for these tests.
fn proxy(args: &[&str], env: &[(&str, &str)]) -> Process {
    let args = [&["proxy"], args].concat();
    Process::start(env!("CARGO_BIN_EXE_tower-webhook"), &args, env)
}
