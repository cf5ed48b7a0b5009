//! One attempt: sign, post, read the answer.

mod answer;
mod capped;
mod client;
mod connection;
mod error;
mod guard;
mod headers;
mod lookups;
mod pool;
mod post;
mod resolver;
mod roots;
mod system_resolver;
mod timer;
mod values;

use std::{future::Future, time::SystemTime};

use tokio::time::Instant;

pub(crate) use self::{
    client::{Client, GuardedSettings},
    post::Post,
    timer::{Timer, deadline},
};
pub use self::{
    resolver::{Resolve, Resolving},
    roots::InvalidCertificate,
};
use crate::{Delivery, event::Outcome};

/// The attempt that is made.
#[derive(Clone, Copy)]
pub(crate) struct Begun {
    /// Which one it is, from 1.
    pub(crate) attempt: u32,
    pub(crate) at: SystemTime,
    pub(crate) started: Instant,
}

impl Begun {
    pub(crate) fn now(attempt: u32) -> Self {
        Self {
            attempt,
            at: SystemTime::now(),
            started: Instant::now(),
        }
    }
}

/// Where a worker's claims go, one attempt each.
pub(crate) trait FarEnd: Send + Sync + 'static {
    /// The timer is the lane's, for one attempt after the other.
    fn attempt(
        &self,
        delivery: &Delivery,
        begun: Begun,
        timer: &mut Timer,
    ) -> impl Future<Output = Outcome> + Send;
}
