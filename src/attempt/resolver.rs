use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use hickory_resolver::{TokioResolver, config::LookupIpStrategy};
use hyper_util::client::legacy::connect::dns::Name;
use tokio::{sync::Semaphore, time::timeout};
use tower_service::Service;

use super::error::ConnectError;
use crate::{BoxError, EndpointPolicy};

/// Finds the addresses of an endpoint's name.
///
/// What it answers is judged by the [`EndpointPolicy`]: it cannot lead to an address that is not
/// permitted.
///
/// ```
/// use std::{io, net::{IpAddr, Ipv4Addr}};
/// use tower_webhook::{Dispatcher, Resolve, Resolving};
///
/// #[derive(Debug)]
/// struct Fixed;
///
/// impl Resolve for Fixed {
///     fn resolve(&self, name: &str) -> Resolving {
///         let known = name == "receiver.example.com";
///         Box::pin(async move {
///             match known {
///                 true => Ok(vec![IpAddr::V4(Ipv4Addr::new(93, 184, 216, 34))]),
///                 false => Err(io::ErrorKind::NotFound.into()),
///             }
///         })
///     }
/// }
///
/// let dispatcher = Dispatcher::builder().with_resolver(Fixed).build();
/// ```
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of this name, which is absolute, in lower case, and without a dot at its
    /// end. Dropping the future must end the look-up.
    fn resolve(&self, name: &str) -> Resolving;
}

/// A look-up under way.
pub type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Look-ups that may be under way at once.
const MAX_LOOKUPS: usize = 64;
/// How long one may take, waiting for its turn included.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// Happy eyeballs tries every address in turn: more than this many are not tried.
const MAX_ADDRESSES: usize = 8;

/// Resolves and judges in one step: the addresses that it returns are the ones that are dialled.
#[derive(Clone)]
pub(super) struct JudgingResolver {
    resolver: Arc<dyn Resolve>,
    policy: EndpointPolicy,
    turns: Arc<Semaphore>,
}

impl JudgingResolver {
    pub(super) fn new(resolver: Arc<dyn Resolve>, policy: EndpointPolicy) -> Self {
        Self {
            resolver,
            policy,
            turns: Arc::new(Semaphore::new(MAX_LOOKUPS)),
        }
    }

    async fn resolve(self, name: Name) -> Result<std::vec::IntoIter<SocketAddr>, BoxError> {
        let look_up = async {
            let _turn = self.turns.acquire().await;
            self.resolver.resolve(name.as_str()).await
        };
        let addresses = match timeout(LOOKUP_TIMEOUT, look_up).await {
            Ok(Ok(addresses)) if !addresses.is_empty() => addresses,
            _ => return Err(ConnectError::Unresolved.into()),
        };
        if !addresses
            .iter()
            .all(|&address| self.policy.permits(address))
        {
            return Err(ConnectError::Forbidden.into());
        }
        // Any other port than 0 would win over the endpoint's.
        let addresses = addresses.into_iter().take(MAX_ADDRESSES);
        let addresses: Vec<_> = addresses.map(|ip| SocketAddr::new(ip, 0)).collect();
        Ok(addresses.into_iter())
    }
}

impl Service<Name> for JudgingResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(self.clone().resolve(name))
    }
}

/// The name servers that the system is set up with. They are read with the first look-up.
#[derive(Default)]
pub(super) struct SystemResolver {
    resolver: OnceLock<TokioResolver>,
}

impl SystemResolver {
    fn get(&self) -> io::Result<TokioResolver> {
        if let Some(resolver) = self.resolver.get() {
            return Ok(resolver.clone());
        }
        let mut builder = TokioResolver::builder_tokio().map_err(io::Error::other)?;
        // Both families are asked for, so that both are judged.
        builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        let resolver = builder.build().map_err(io::Error::other)?;
        Ok(self.resolver.get_or_init(|| resolver).clone())
    }
}

impl Resolve for SystemResolver {
    fn resolve(&self, name: &str) -> Resolving {
        let resolver = self.get();
        // Absolute, so that no search list applies.
        let name = format!("{name}.");
        Box::pin(async move {
            let found = resolver?.lookup_ip(name).await.map_err(io::Error::other)?;
            Ok(found.iter().collect())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use hickory_resolver::{
        config::{ConnectionConfig, NameServerConfig, ResolverConfig},
        net::runtime::TokioRuntimeProvider,
        proto::rr::Name as DnsName,
    };
    use tokio::net::UdpSocket;

    use super::*;

    struct Answers(Vec<IpAddr>);

    impl Resolve for Answers {
        fn resolve(&self, _: &str) -> Resolving {
            let answer = self.0.clone();
            Box::pin(async { Ok(answer) })
        }
    }

    async fn judged(addresses: &[&str]) -> Option<Vec<SocketAddr>> {
        let addresses = addresses.iter().map(|address| address.parse().unwrap());
        let resolver = Arc::new(Answers(addresses.collect()));
        let resolver = JudgingResolver::new(resolver, EndpointPolicy::public());
        let name = "receiver.example.com".parse().unwrap();
        Some(resolver.resolve(name).await.ok()?.collect())
    }

    #[tokio::test]
    async fn addresses_are_capped_and_have_no_port() {
        let found = judged(&["93.184.216.34"; 20]).await.unwrap();
        assert_eq!(found, vec!["93.184.216.34:0".parse().unwrap(); 8]);
        let found = judged(&["2606:4700::1", "93.184.216.34"]).await.unwrap();
        assert_eq!(found.len(), 2);
    }

    #[tokio::test]
    async fn one_refused_address_refuses_all() {
        assert_eq!(judged(&["93.184.216.34", "10.0.0.1"]).await, None);
        assert_eq!(judged(&["::ffff:93.184.216.34"]).await, None);
        assert_eq!(judged(&[]).await, None);
    }

    /// A name server that knows no name. It returns those that it was asked for.
    async fn knows_nothing(socket: UdpSocket, names: Arc<std::sync::Mutex<Vec<String>>>) {
        let mut query = [0; 512];
        loop {
            let (_, from) = socket.recv_from(&mut query).await.unwrap();
            let mut labels = Vec::new();
            let mut at = 12;
            while query[at] != 0 {
                let end = at + 1 + usize::from(query[at]);
                labels.push(str::from_utf8(&query[at + 1..end]).unwrap().to_owned());
                at = end;
            }
            names.lock().unwrap().push(labels.join("."));
            // A response that the name does not exist, with the question alone.
            query[2..4].copy_from_slice(&[0x81, 0x83]);
            query[6..12].fill(0);
            socket.send_to(&query[..at + 5], from).await.unwrap();
        }
    }

    #[tokio::test]
    async fn no_search_list_applies() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut connection = ConnectionConfig::udp();
        connection.port = socket.local_addr().unwrap().port();
        let server = NameServerConfig::new(Ipv4Addr::LOCALHOST.into(), true, vec![connection]);
        let search = DnsName::from_ascii("corp.example.").unwrap();
        let config = ResolverConfig::from_parts(Some(search.clone()), vec![search], vec![server]);
        let provider = TokioRuntimeProvider::default();
        let resolver = TokioResolver::builder_with_config(config, provider);
        let resolver = SystemResolver {
            resolver: resolver.build().unwrap().into(),
        };

        let names = Arc::default();
        let serving = tokio::spawn(knows_nothing(socket, Arc::clone(&names)));
        for name in ["receiver.example.com", "intranet", "127.1", "2130706433"] {
            assert!(resolver.resolve(name).await.is_err(), "{name}");
            let asked = std::mem::take(&mut *names.lock().unwrap());
            assert!(!asked.is_empty(), "{name}");
            assert!(asked.iter().all(|asked| asked == name), "{asked:?}");
        }
        serving.abort();
    }
}
