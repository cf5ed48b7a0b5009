//! One attempt: sign, post, read the answer.

mod answer;
mod capped;
mod client;
mod error;
mod guard;
mod post;
mod resolver;
mod roots;
mod upload;

use std::future::Future;

pub(crate) use self::{
    client::{Client, GuardedSettings},
    post::Post,
};
pub use self::{
    resolver::{Resolve, Resolving},
    roots::InvalidCertificate,
};
use crate::{Delivery, event::Outcome};

/// Where a worker's claims go, one attempt each.
pub(crate) trait FarEnd: Send + Sync + 'static {
    fn attempt(&self, delivery: &Delivery, attempt: u32) -> impl Future<Output = Outcome> + Send;
}
