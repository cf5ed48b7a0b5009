//! The SQLite outbox: real files, a real dispatcher, a real receiver on loopback.

mod dead_letters;
mod files;
mod full;
mod kill;
#[cfg(unix)]
mod proxy;
mod restart;
mod scene;
mod secrets;

#[cfg(unix)]
#[path = "../support/example.rs"]
mod example;
