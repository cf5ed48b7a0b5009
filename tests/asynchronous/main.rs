//! Calls that are answered with a 202 and run on.

#[path = "../support/grpc.rs"]
mod grpc;
mod polling;
mod receipts;
mod runs;
mod status;
#[path = "../support/mod.rs"]
mod support;
