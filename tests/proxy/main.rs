//! The example `proxy`, as a process between real sockets.

#![cfg(unix)]

mod arguments;
mod drain;
mod messages;
mod streams;
mod world;

#[path = "../support/example.rs"]
mod example;
