//! What the tests share: a PostgreSQL server of their own, a pooler before it, and a scene of callers
//! and receivers.

#![allow(dead_code)] // each test binary uses a part of it

pub(crate) mod place;
pub(crate) mod pooler;
pub(crate) mod programs;
pub(crate) mod scene;
pub(crate) mod server;
