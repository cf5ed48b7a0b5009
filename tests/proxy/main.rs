//! The example `proxy`, as a process between real sockets.

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
mod raw;
mod refused;
#[cfg(unix)]
mod runs;
mod status;
mod streams;
mod world;

#[path = "../support/example.rs"]
mod example;

#[cfg(unix)]
mod sqlite;

#[cfg(unix)]
#[allow(dead_code)] // other tests use more of it
#[path = "../../crates/tower-webhook-sqlite/tests/file/scene.rs"]
mod scene;
