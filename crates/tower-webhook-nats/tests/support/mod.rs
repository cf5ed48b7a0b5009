//! What the tests share: a NATS server of their own, and outboxes in it.

pub(crate) mod cluster;
#[path = "../../../../tests/support/faketime.rs"]
pub(crate) mod faketime;
pub(crate) mod server;

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tower_webhook::outbox::SealingKey;
use tower_webhook_nats::{JetStreamOutbox, JetStreamOutboxBuilder};

/// A name that no other outbox of this process has.
pub(crate) fn fresh_name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("test-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn builder(address: &str, name: &str) -> JetStreamOutboxBuilder {
    JetStreamOutbox::builder(address)
        .with_key(SealingKey::from_bytes([7; 32]))
        .with_name(name)
        .with_replicas(1)
        .with_max_dead_letter_bytes(16 << 20)
}

/// A disk that others use may take seconds for thousands of syncs.
const TIMEOUT: Duration = Duration::from_secs(20);

/// For what waits for the server, however slow it is.
pub(crate) async fn open(address: &str, name: &str, lease: Duration) -> JetStreamOutbox {
    let outbox = builder(address, name)
        .with_lease(lease)
        .with_timeout(TIMEOUT)
        .connect()
        .await;
    outbox.unwrap()
}
