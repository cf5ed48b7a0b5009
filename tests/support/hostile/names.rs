use std::net::IpAddr;

use tower_webhook::attempt::{Resolve, ResolveFuture};

/// Answers names as a function says.
pub(crate) struct Stub<F>(pub(crate) F);

impl<F: Fn(&str) -> ResolveFuture + Send + Sync + 'static> Resolve for Stub<F> {
    fn resolve(&self, name: &str) -> ResolveFuture {
        (self.0)(name)
    }
}

pub(crate) fn found<A: ToString>(addresses: impl IntoIterator<Item = A>) -> ResolveFuture {
    let parse = |address: A| address.to_string().parse::<IpAddr>().unwrap();
    let addresses = addresses.into_iter().map(parse).collect();
    Box::pin(async { Ok(addresses) })
}

pub(crate) fn loopback(_: &str) -> ResolveFuture {
    found(["127.0.0.1"])
}

/// A look-up that never ends.
pub(crate) fn never(_: &str) -> ResolveFuture {
    Box::pin(std::future::pending())
}
