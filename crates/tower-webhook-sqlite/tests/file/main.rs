//! The SQLite outbox: real files, a real dispatcher, a real receiver on loopback.

mod dead_letters;
mod files;
mod full;
mod kill;
mod restart;
mod scene;
mod secrets;
mod stop;
