use std::{future::Future, io, net::IpAddr, pin::Pin, sync::Arc};

use super::{error::ConnectError, lookups::Lookups};
use crate::endpoint::EndpointPolicy;

/// Resolves an endpoint's name to its addresses.
///
/// Its answers are judged by the [`EndpointPolicy`]: a resolver cannot make a delivery reach an
/// address that is not permitted.
///
/// ```
/// use std::{io, net::{IpAddr, Ipv4Addr}};
/// use tower_webhook::{Dispatcher, attempt::{Resolve, ResolveFuture}};
///
/// #[derive(Debug)]
/// struct Fixed;
///
/// impl Resolve for Fixed {
///     fn resolve(&self, name: &str) -> ResolveFuture {
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
    /// The addresses of this name, which is absolute, in lower case, and without a trailing dot.
    /// Dropping the future must end the look-up.
    ///
    /// The attempt fails with [`AttemptError::Resolve`](crate::event::AttemptError::Resolve) on an
    /// error, without any address, and after 5 seconds. 80 names at most are looked up at the same
    /// time, fewer where there are fewer [sockets]. Domains take turns, so that one whose names all
    /// stall does not delay the others; while many stall, a name may be asked for once more after it
    /// was not answered within a second.
    ///
    /// [sockets]: crate::dispatch::DispatcherBuilder::with_max_sockets
    fn resolve(&self, name: &str) -> ResolveFuture;
}

/// A look-up under way.
pub type ResolveFuture = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Happy eyeballs would try every address in turn: at most this many are passed on.
const MAX_ADDRESSES: usize = 8;

/// Resolves and judges in one step: the addresses that it returns are the ones that are dialled.
#[derive(Clone)]
pub(super) struct JudgingResolver {
    lookups: Arc<Lookups>,
    policy: EndpointPolicy,
}

impl JudgingResolver {
    /// Has so many look-ups under way at once, at most.
    pub(super) fn new(
        resolver: Arc<dyn Resolve>,
        policy: EndpointPolicy,
        most_lookups: usize,
    ) -> Self {
        Self {
            lookups: Arc::new(Lookups::new(resolver, most_lookups)),
            policy,
        }
    }

    #[cfg(feature = "metrics")]
    pub(super) fn lookups_under_way(&self) -> usize {
        self.lookups.running()
    }

    pub(super) async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, ConnectError> {
        let Some(addresses) = self.lookups.addresses(name).await else {
            return Err(ConnectError::Unresolved);
        };
        if !addresses
            .iter()
            .all(|&address| self.policy.permits_for(name, address))
        {
            return Err(ConnectError::Forbidden);
        }
        Ok(addresses.iter().copied().take(MAX_ADDRESSES).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Answers(Vec<IpAddr>);

    impl Resolve for Answers {
        fn resolve(&self, _: &str) -> ResolveFuture {
            let answer = self.0.clone();
            Box::pin(async { Ok(answer) })
        }
    }

    async fn judged(addresses: &[&str]) -> Option<Vec<IpAddr>> {
        let addresses = addresses.iter().map(|address| address.parse().unwrap());
        let resolver = Arc::new(Answers(addresses.collect()));
        let resolver = JudgingResolver::new(resolver, EndpointPolicy::public(), 1);
        resolver.resolve("receiver.example.com").await.ok()
    }

    #[tokio::test]
    async fn addresses_are_capped() {
        let found = judged(&["93.184.216.34"; 20]).await.unwrap();
        assert_eq!(found, vec!["93.184.216.34".parse::<IpAddr>().unwrap(); 8]);
        let found = judged(&["2606:4700::1", "93.184.216.34"]).await.unwrap();
        assert_eq!(found.len(), 2);
    }

    #[tokio::test]
    async fn one_refused_address_refuses_all() {
        assert_eq!(judged(&["93.184.216.34", "10.0.0.1"]).await, None);
        assert_eq!(judged(&["::ffff:93.184.216.34"]).await, None);
        assert_eq!(judged(&[]).await, None);
    }
}
