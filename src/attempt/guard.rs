use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::rt::TokioIo;
use tower_service::Service;

use super::{
    capped::CappedSocket, dial::Dialer, error::ConnectError, resolver::JudgingResolver,
    sockets::SocketShares,
};
use crate::{endpoint::EndpointPolicy, error::BoxError};

/// The divisor of an attempt's timeout that gives the time for the addresses of one family, which
/// are tried in turn with equal shares of it. With the default timeout of 15 seconds that is 5
/// seconds. A look-up may take as long, and as much is left for the handshake and the answer.
const CONNECTING: u32 = 3;

/// Connects to permitted addresses only.
///
/// A host that is an address is judged and dialled as it is read here; names are judged by the
/// [`JudgingResolver`], whose answers are the ones that are dialled.
#[derive(Clone)]
pub(crate) struct Guard {
    resolver: JudgingResolver,
    dialer: Arc<Dialer>,
    policy: EndpointPolicy,
}

impl Guard {
    pub(super) fn new(
        resolver: JudgingResolver,
        policy: EndpointPolicy,
        attempt_timeout: Duration,
        sockets: SocketShares,
        attempts_per_host: usize,
    ) -> Self {
        let within = attempt_timeout / CONNECTING;
        let dialer = Dialer::new(within, sockets, attempts_per_host);
        Self {
            resolver,
            dialer: Arc::new(dialer),
            policy,
        }
    }

    async fn connect(self, endpoint: Uri) -> Result<TokioIo<CappedSocket>, BoxError> {
        let (host, port) = target(&endpoint).ok_or("the endpoint has no host, or no port")?;
        let addresses = match literal(host) {
            Some(address) if self.policy.permits(address) => vec![address],
            Some(_) => return Err(ConnectError::Forbidden.into()),
            None => self.resolver.resolve(host).await?,
        };
        let (tcp, place) = self.dialer.dial(&addresses, port).await?;
        // Judged once more, whatever the resolver and the dialer did.
        let peer = tcp.peer_addr()?.ip();
        if !self.policy.permits_for(host, peer) {
            return Err(ConnectError::Forbidden.into());
        }
        Ok(TokioIo::new(CappedSocket::new(tcp, place)))
    }
}

fn target(endpoint: &Uri) -> Option<(&str, u16)> {
    let default = match endpoint.scheme_str()? {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    };
    Some((endpoint.host()?, endpoint.port_u16().or(default)?))
}

/// The host as an address. What is none is a name to the resolver.
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

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, endpoint: Uri) -> Self::Future {
        Box::pin(self.clone().connect(endpoint))
    }
}

#[cfg(test)]
mod cost;
#[cfg(test)]
mod tests {
    use std::{io, net::TcpListener, sync::Mutex};

    use super::*;
    use crate::{
        attempt::{Resolve, ResolveFuture, error::classify},
        event::AttemptError,
    };

    /// Addresses to some connectors, in places where a URI parser does not expect them.
    const LITERALS: [&str; 8] = [
        "127.0.0.1",
        "[127.0.0.1]",
        "[::1]",
        "[::1]evil.com",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "user@[127.0.0.1]",
        "evil.com:80@127.0.0.1",
    ];
    /// Names here, addresses to the resolvers of some systems.
    const NAMES: [&str; 9] = [
        "127.1",
        "0x7f.1",
        "0x7f000001",
        "2130706433",
        "017700000001",
        "0",
        "127.0.0.1.",
        "localhost",
        "evil.com",
    ];

    const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);

    /// Resolves every name to loopback.
    #[derive(Clone, Default)]
    struct Loopback {
        asked: Arc<Mutex<Vec<String>>>,
    }

    impl Resolve for Loopback {
        fn resolve(&self, name: &str) -> ResolveFuture {
            self.asked.lock().unwrap().push(name.to_owned());
            let both = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            Box::pin(async move { Ok(both.to_vec()) })
        }
    }

    fn guard(policy: EndpointPolicy) -> (Guard, Loopback) {
        let resolver = Loopback::default();
        let judging = JudgingResolver::new(Arc::new(resolver.clone()), policy.clone(), 1);
        let sockets = SocketShares::of(64);
        (
            Guard::new(judging, policy, ATTEMPT_TIMEOUT, sockets, 4),
            resolver,
        )
    }

    /// Listeners on one port of both loopback addresses, where the machine has both.
    fn listen() -> (Vec<TcpListener>, u16) {
        let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = v4.local_addr().unwrap().port();
        let v6 = TcpListener::bind((Ipv6Addr::LOCALHOST, port)).ok();
        let listeners: Vec<_> = [v4].into_iter().chain(v6).collect();
        for listener in &listeners {
            listener.set_nonblocking(true).unwrap();
        }
        (listeners, port)
    }

    fn saw_nobody(listener: &TcpListener) -> bool {
        listener.accept().unwrap_err().kind() == io::ErrorKind::WouldBlock
    }

    #[tokio::test]
    async fn nothing_is_opened_however_the_connector_is_called() {
        let (listeners, port) = listen();
        let (guard, resolver) = guard(EndpointPolicy::public().with_insecure_http());
        for host in LITERALS.into_iter().chain(NAMES) {
            let endpoint: Uri = format!("http://{host}:{port}/").parse().unwrap();
            let error = guard.clone().connect(endpoint).await.unwrap_err();
            assert_eq!(classify(&*error), AttemptError::Forbidden, "{host}");
        }
        assert!(listeners.iter().all(saw_nobody));
        assert_eq!(*resolver.asked.lock().unwrap(), NAMES);
    }

    #[tokio::test]
    async fn what_is_permitted_is_opened() {
        let (_listeners, port) = listen();
        let policy = EndpointPolicy::public().with_allowed_network("127.0.0.1");
        let (guard, resolver) = guard(policy.unwrap());
        for host in ["127.0.0.1", "[127.0.0.1]"] {
            let endpoint: Uri = format!("http://{host}:{port}/").parse().unwrap();
            assert!(guard.clone().connect(endpoint).await.is_ok(), "{host}");
        }
        let endpoint: Uri = format!("http://[::1]:{port}/").parse().unwrap();
        assert!(guard.connect(endpoint).await.is_err());
        assert!(resolver.asked.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_uri_without_a_host_is_an_error() {
        let (guard, _) = guard(EndpointPolicy::public());
        for endpoint in ["/", "example.com:80", "*"] {
            assert!(
                guard
                    .clone()
                    .connect(endpoint.parse().unwrap())
                    .await
                    .is_err()
            );
        }
    }

    /// The peer is judged even if the resolver let its address through.
    #[tokio::test]
    async fn a_peer_that_is_not_permitted_is_left() {
        let (listeners, port) = listen();
        let lax = EndpointPolicy::public().with_insecure_private_networks();
        let judging = JudgingResolver::new(Arc::new(Loopback::default()), lax, 1);
        let sockets = SocketShares::of(64);
        let guard = Guard::new(
            judging,
            EndpointPolicy::public(),
            ATTEMPT_TIMEOUT,
            sockets,
            4,
        );
        let endpoint: Uri = format!("http://evil.com:{port}/").parse().unwrap();
        let error = guard.connect(endpoint).await.unwrap_err();
        assert_eq!(classify(&*error), AttemptError::Forbidden);
        assert!(listeners.iter().any(|listener| listener.accept().is_ok()));
    }
}
