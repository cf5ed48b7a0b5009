//! One attempt: sign, post, read the answer.

mod answer;
mod capped;
mod client;
mod error;
mod guard;
mod hold;
mod post;
mod resolver;
mod roots;

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
