//! What the endpoint receives, and when it is tried again.

mod call;
mod client;
mod failures;
mod fixed_headers;
mod headers;
mod keys;
mod settings;
mod signatures;
mod sink;
mod statuses;

#[path = "../support/mod.rs"]
mod support;
