//! One attempt: sign, post, read the answer.

mod answer;
mod capped;
mod client;
mod connection;
mod error;
mod guard;
mod headers;
mod pool;
mod post;
mod resolver;
mod roots;
mod timer;

use std::future::Future;

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

/// Where a worker's claims go, one attempt each.
pub(crate) trait FarEnd: Send + Sync + 'static {
    /// The timer is the lane's, for one attempt after the other.
    fn attempt(
        &self,
        delivery: &Delivery,
        attempt: u32,
        timer: &mut Timer,
    ) -> impl Future<Output = Outcome> + Send;
}
