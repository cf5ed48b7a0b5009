//! Which endpoints are accepted, and which addresses may be connected to.

mod lists;
mod permits;
mod properties;
mod registries;
mod urls;

use std::net::IpAddr;

use tower_webhook::EndpointPolicy;

fn public() -> EndpointPolicy {
    EndpointPolicy::public().with_insecure_http()
}

fn private() -> EndpointPolicy {
    EndpointPolicy::public().with_insecure_private_networks()
}

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn literal(addr: IpAddr) -> String {
    match addr {
        IpAddr::V4(addr) => format!("https://{addr}/"),
        IpAddr::V6(addr) => format!("https://[{addr}]/"),
    }
}
