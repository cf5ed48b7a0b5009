//! The example `proxy`, as a process between real sockets.

#![cfg(unix)]

mod arguments;
mod drain;
mod messages;
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
