//! Calls that are answered with a 202 and run on.

#[path = "../support/grpc.rs"]
mod grpc;
mod receipts;
#[path = "../support/mod.rs"]
mod support;
