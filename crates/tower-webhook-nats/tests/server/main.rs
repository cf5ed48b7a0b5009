//! What the outbox does with a server of the test's own: set-up, traps of JetStream, kills.

#[path = "../support/mod.rs"]
mod support;

mod access;
mod clocks;
mod cluster;
mod deleted;
mod full;
mod hanging;
mod hosts;
mod kill;
mod outage;
mod scene;
mod set_up;
mod traps;
mod whole_way;
mod worker;
