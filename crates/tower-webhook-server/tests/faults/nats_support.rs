//! The servers of the JetStream outbox's own tests.

#[path = "../../../tower-webhook-nats/tests/support/cluster.rs"]
pub(crate) mod cluster;
#[path = "../../../tower-webhook-nats/tests/support/server.rs"]
pub(crate) mod server;
