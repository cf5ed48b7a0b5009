use std::net::IpAddr;

use tower_webhook::{Resolve, Resolving};

/// Answers names as a function says.
pub(crate) struct Stub<F>(pub(crate) F);

impl<F: Fn(&str) -> Resolving + Send + Sync + 'static> Resolve for Stub<F> {
    fn resolve(&self, name: &str) -> Resolving {
        (self.0)(name)
    }
}

pub(crate) fn found<A: ToString>(addresses: impl IntoIterator<Item = A>) -> Resolving {
    let parse = |address: A| address.to_string().parse::<IpAddr>().unwrap();
    let addresses = addresses.into_iter().map(parse).collect();
    Box::pin(async { Ok(addresses) })
}

pub(crate) fn loopback(_: &str) -> Resolving {
    found(["127.0.0.1"])
}

/// A look-up that never ends.
pub(crate) fn never(_: &str) -> Resolving {
    Box::pin(std::future::pending())
}
