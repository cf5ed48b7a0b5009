//! Names of receivers, which all lead to loopback, and requests that name them.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    iter::{Once, once},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    task::{Context, Poll},
};

use axum::body::Body;
use http::Request;
use hyper_util::client::legacy::connect::dns::Name;
use tower::Service;
use tower_webhook::{
    Dispatcher, EndpointPolicy,
    attempt::{Resolve, ResolveFuture},
    dispatch::DispatcherBuilder,
};

pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// The response of every request: 1 KiB.
pub(crate) const PAYLOAD: &[u8] = &[b'x'; 1 << 10];
/// As many as any measurement has outstanding.
const ROOM: usize = 32_768;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The endpoint of receiver `number`: each is a host of its own.
pub(crate) fn endpoint(scheme: &str, number: usize, port: u16) -> String {
    format!("{scheme}://{}:{port}/hook", host(number))
}

pub(crate) fn host(number: usize) -> String {
    format!("receiver-{number}.example.com")
}

/// A request that asks for a webhook.
pub(crate) fn request(endpoint: &str) -> Request<Body> {
    let endpoint: String = url::form_urlencoded::byte_serialize(endpoint.as_bytes()).collect();
    Request::post(format!("/run?webhookEndpoint={endpoint}"))
        .header("x-webhook-secret", SECRET)
        .body(Body::empty())
        .expect("a valid request")
}

/// As many requests, the endpoints in turn.
pub(crate) fn requests(number: usize, endpoints: &[String]) -> Vec<Request<Body>> {
    let endpoints = endpoints.iter().cycle().take(number);
    endpoints.map(|endpoint| request(endpoint)).collect()
}

/// Every default but for what lets deliveries out to loopback, and room for all of them.
pub(crate) fn dispatcher() -> DispatcherBuilder {
    let policy = EndpointPolicy::public()
        .with_insecure_http()
        .with_allowed_network("127.0.0.0/8")
        .expect("a network");
    Dispatcher::builder()
        .with_endpoint_policy(policy)
        .with_resolver(Loopback)
        .with_max_outstanding(ROOM)
        .with_max_outstanding_per_host(ROOM)
}

/// Every name is this machine's, for the dispatcher and for hyper-util.
#[derive(Clone)]
pub(crate) struct Loopback;

impl Resolve for Loopback {
    fn resolve(&self, _: &str) -> ResolveFuture {
        Box::pin(ready(Ok(vec![LOOPBACK])))
    }
}

impl Service<Name> for Loopback {
    type Response = Once<SocketAddr>;
    type Error = Infallible;
    type Future = Ready<Result<Once<SocketAddr>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        ready(Ok(once(SocketAddr::new(LOOPBACK, 0))))
    }
}
