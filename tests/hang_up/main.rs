//! The caller leaves: a request that asked for a webhook runs on, any other one ends.

mod endless;
mod ends;
#[path = "../support/grpc.rs"]
mod grpc;
mod limits;
mod runs_on;
#[path = "../support/mod.rs"]
mod support;
