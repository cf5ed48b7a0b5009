use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::Uri;
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::sync::Semaphore;
use tower::ServiceExt;
use tower_service::Service;

use super::{capped::CappedSocket, error::ConnectError, resolver::JudgingResolver};
use crate::{BoxError, EndpointPolicy};

/// Connects to permitted addresses only.
///
/// hyper-util's connector dials a host that is an address without asking its resolver: so this
/// judges addresses, reading them as it does, and [`JudgingResolver`] judges names.
#[derive(Clone)]
pub(crate) struct Guard {
    connector: HttpConnector<JudgingResolver>,
    policy: EndpointPolicy,
    keep_open: Arc<Semaphore>,
}

impl Guard {
    /// Of the sockets that are open at any time, `keep_open` may be used for more than one
    /// request.
    pub(super) fn new(resolver: JudgingResolver, policy: EndpointPolicy, keep_open: usize) -> Self {
        let mut connector = HttpConnector::new_with_resolver(resolver);
        connector.enforce_http(false);
        connector.set_nodelay(true);
        Self {
            connector,
            policy,
            keep_open: Arc::new(Semaphore::new(keep_open.min(Semaphore::MAX_PERMITS))),
        }
    }

    async fn connect(self, endpoint: Uri) -> Result<TokioIo<CappedSocket>, BoxError> {
        let literal = endpoint.host().and_then(literal);
        if literal.is_some_and(|address| !self.policy.permits(address)) {
            return Err(ConnectError::Forbidden.into());
        }
        let tcp = self.connector.oneshot(endpoint).await?.into_inner();
        let peer = tcp.peer_addr()?.ip();
        if !self.policy.permits(peer) {
            return Err(ConnectError::Forbidden.into());
        }
        let may_be_kept = self.keep_open.try_acquire_owned().ok();
        Ok(TokioIo::new(CappedSocket::new(tcp, may_be_kept)))
    }
}

/// The host as an address, exactly as hyper-util's connector reads it.
fn literal(host: &str) -> Option<IpAddr> {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host = bare.unwrap_or(host);
    let v4 = host.parse::<Ipv4Addr>().map(IpAddr::V4);
    v4.or_else(|_| host.parse::<Ipv6Addr>().map(IpAddr::V6))
        .ok()
}

impl Service<Uri> for Guard {
    type Response = TokioIo<CappedSocket>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, endpoint: Uri) -> Self::Future {
        Box::pin(self.clone().connect(endpoint))
    }
}
