//! The SQLite outbox: real files, a real dispatcher, a real receiver on loopback.

#[cfg(unix)]
mod access;
mod damage;
mod dead_letters;
mod files;
mod full;
mod history;
mod kill;
#[cfg(unix)]
mod replaced;
mod restart;
mod scene;
mod secrets;
mod stop;
mod tampering;
mod traces;
