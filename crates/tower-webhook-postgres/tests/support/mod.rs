//! Shared by the tests: a PostgreSQL server, a pooler in front of it, and callers and receivers.

#![allow(dead_code)] // each test binary uses a part of it

pub(crate) mod place;
pub(crate) mod pooler;
pub(crate) mod programs;
pub(crate) mod proxy;
pub(crate) mod scene;
pub(crate) mod server;
