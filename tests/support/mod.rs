//! What tests over real sockets share. All of it is on loopback.

#![allow(dead_code)] // each test binary uses a part of it

pub(crate) mod caller;
pub(crate) mod clock;
pub(crate) mod gate;
pub(crate) mod let_go;
pub(crate) mod receiver;
pub(crate) mod rig;
pub(crate) mod server;

use std::{future::Future, time::Duration};

/// Longer than anything takes that is not stuck.
pub(crate) const BACKSTOP: Duration = Duration::from_secs(20);

pub(crate) async fn soon<T>(what: &str, waited_for: impl Future<Output = T>) -> T {
    match tokio::time::timeout(BACKSTOP, waited_for).await {
        Ok(output) => output,
        Err(_elapsed) => panic!("stuck: {what}"),
    }
}
