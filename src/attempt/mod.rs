//! One attempt: sign, post, read the answer. Whether another one follows is decided elsewhere.
//!
//! The guard is in the connector: an address is judged by the resolver that returns it, and again
//! where it is dialled.

mod answer;
#[cfg(feature = "client")]
mod capped;
mod client;
#[cfg(feature = "client")]
mod connection;
#[cfg(feature = "client")]
mod counted_runtime;
#[cfg(feature = "client")]
mod dial;
mod error;
mod fixed_headers;
#[cfg(feature = "client")]
mod guard;
#[cfg(feature = "client")]
mod guarded;
#[cfg(feature = "client")]
mod head;
mod headers;
#[cfg(feature = "client")]
mod lookups;
#[cfg(feature = "client")]
mod places;
#[cfg(feature = "client")]
mod pool;
mod post;
#[cfg(feature = "client")]
mod remembered;
#[cfg(feature = "client")]
mod resolver;
#[cfg(feature = "client")]
mod roots;
mod signatures;
#[cfg(feature = "client")]
mod sockets;
#[cfg(feature = "client")]
mod system_config;
#[cfg(feature = "client")]
mod system_resolver;
mod timer;
#[cfg(feature = "client")]
mod transcript;
#[cfg(feature = "client")]
mod turns;
mod values;

use std::time::SystemTime;

use tokio::time::Instant;

use crate::delivery::TraceParent;

pub use self::fixed_headers::ReservedHeader;
#[cfg(feature = "client")]
pub(crate) use self::guarded::GuardedSettings;
pub(crate) use self::{
    client::Client,
    fixed_headers::FixedHeaders,
    post::Post,
    timer::{Timer, deadline},
};
#[cfg(feature = "client")]
pub use self::{
    resolver::{Resolve, ResolveFuture},
    roots::InvalidCertificate,
};

/// An attempt that has begun.
#[derive(Clone, Copy)]
pub(crate) struct AttemptStart {
    /// Its number within the delivery, from 1.
    pub(crate) attempt: u32,
    pub(crate) at: SystemTime,
    pub(crate) started: Instant,
    pub(crate) trace_parent: Option<TraceParent>,
}

impl AttemptStart {
    pub(crate) fn now(attempt: u32, trace_parent: Option<TraceParent>) -> Self {
        Self {
            attempt,
            at: SystemTime::now(),
            started: Instant::now(),
            trace_parent,
        }
    }

    /// One that was made at that time.
    pub(crate) fn past(attempt: u32, at: SystemTime) -> Self {
        Self {
            at,
            ..Self::now(attempt, None)
        }
    }
}
