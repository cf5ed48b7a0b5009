use std::{io, sync::Mutex, time::Duration};

use hickory_resolver::{
    ResolverBuilder, TokioResolver, config::LookupIpStrategy, net::runtime::TokioRuntimeProvider,
};

use tokio::runtime::{self, Handle};

use super::{Resolve, ResolveFuture};
use crate::sync::lock;

/// Asks the name servers that the system is configured with. The configuration is read at the first
/// look-up in a runtime: a resolver's tasks run in the runtime in which it was created, so another
/// runtime needs another resolver.
#[derive(Default)]
pub(super) struct SystemResolver {
    resolver: Mutex<Option<(runtime::Id, TokioResolver)>>,
}

impl SystemResolver {
    fn get(&self) -> io::Result<TokioResolver> {
        let here = Handle::current().id();
        let mut resolver = lock(&self.resolver);
        if let Some((runtime, resolver)) = &*resolver
            && *runtime == here
        {
            return Ok(resolver.clone());
        }
        let builder = TokioResolver::builder_tokio().map_err(io::Error::other)?;
        let built = build(builder)?;
        *resolver = Some((here, built.clone()));
        Ok(built)
    }
}

fn build(mut builder: ResolverBuilder<TokioRuntimeProvider>) -> io::Result<TokioResolver> {
    let options = builder.options_mut();
    // Both address families are queried, so that both are judged.
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // The addresses of one family are held back until the query for the other has ended, answered
    // or not. Both tries of a query fit into the time of a look-up.
    options.timeout = Duration::from_secs(2);
    options.attempts = 1;
    // A query opens up to three sockets for each name server that is asked.
    options.num_concurrent_reqs = 1;
    builder.build().map_err(io::Error::other)
}

impl Resolve for SystemResolver {
    fn resolve(&self, name: &str) -> ResolveFuture {
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
    use std::{
        net::Ipv4Addr,
        sync::{Arc, Mutex},
    };

    use hickory_resolver::{
        config::{ConnectionConfig, NameServerConfig, ResolverConfig},
        proto::rr::Name as DnsName,
    };
    use tokio::{net::UdpSocket, task::AbortHandle};
    use tower::ServiceExt;

    use super::*;
    use crate::{attempt::resolver::JudgingResolver, endpoint::EndpointPolicy};

    /// The type of a query for an IPv4 address.
    const A: u16 = 1;

    /// How a name server answers a query of some type.
    enum Answer {
        Nothing,
        NoSuchName,
        Address(Ipv4Addr),
    }

    /// A name server on loopback.
    struct NameServer {
        config: NameServerConfig,
        asked: Arc<Mutex<Vec<String>>>,
        serving: AbortHandle,
    }

    impl NameServer {
        async fn new(answer: fn(u16) -> Answer) -> Self {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let mut connection = ConnectionConfig::udp();
            connection.port = socket.local_addr().unwrap().port();
            let asked = Arc::default();
            Self {
                config: NameServerConfig::new(Ipv4Addr::LOCALHOST.into(), true, vec![connection]),
                asked: Arc::clone(&asked),
                serving: tokio::spawn(serve(socket, asked, answer)).abort_handle(),
            }
        }

        /// The names that it was asked for since the last call.
        fn asked(&self) -> Vec<String> {
            std::mem::take(&mut *self.asked.lock().unwrap())
        }
    }

    impl Drop for NameServer {
        fn drop(&mut self) {
            self.serving.abort();
        }
    }

    async fn unknowing() -> NameServer {
        NameServer::new(|_| Answer::NoSuchName).await
    }

    async fn serve(socket: UdpSocket, asked: Arc<Mutex<Vec<String>>>, answer: fn(u16) -> Answer) {
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
            asked.lock().unwrap().push(labels.join("."));
            let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
            let question = &query[12..at + 5];
            let (code, answers) = match answer(kind) {
                Answer::Nothing => continue,
                Answer::NoSuchName => (3, vec![]),
                Answer::Address(address) => {
                    // For the name in the question, type A, for a minute.
                    let head = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4];
                    (0, [&head[..], &address.octets()].concat())
                }
            };
            let counts = [0, 1, 0, u8::from(!answers.is_empty()), 0, 0, 0, 0];
            let head = [&query[..2], &[0x81, 0x80 | code], &counts].concat();
            let response = [&head, question, &answers].concat();
            socket.send_to(&response, from).await.unwrap();
        }
    }

    fn asking<'a>(servers: impl IntoIterator<Item = &'a NameServer>) -> SystemResolver {
        let servers = servers.into_iter().map(|server| server.config.clone());
        let search = DnsName::from_ascii("corp.example.").unwrap();
        let config =
            ResolverConfig::from_parts(Some(search.clone()), vec![search], servers.collect());
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        SystemResolver {
            resolver: Mutex::new(Some((Handle::current().id(), build(builder).unwrap()))),
        }
    }

    #[tokio::test]
    async fn no_search_list_applies() {
        let server = unknowing().await;
        let resolver = asking([&server]);
        for name in ["receiver.example.com", "intranet", "127.1", "2130706433"] {
            assert!(resolver.resolve(name).await.is_err(), "{name}");
            let asked = server.asked();
            assert!(!asked.is_empty(), "{name}");
            assert!(asked.iter().all(|asked| asked == name), "{asked:?}");
        }
    }

    #[tokio::test]
    async fn one_name_server_is_asked_at_a_time() {
        let servers = [unknowing().await, unknowing().await];
        let resolver = asking(&servers);
        assert!(resolver.resolve("receiver.example.com").await.is_err());
        let asked = servers.map(|server| server.asked());
        assert!(asked.iter().any(Vec::is_empty), "{asked:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_family_that_is_never_answered_does_not_hide_the_other() {
        let server = NameServer::new(|kind| match kind {
            A => Answer::Address(Ipv4Addr::new(93, 184, 216, 34)),
            _ => Answer::Nothing,
        })
        .await;
        let resolver = JudgingResolver::new(Arc::new(asking([&server])), EndpointPolicy::public());
        let name = "receiver.example.com".parse().unwrap();
        let found: Vec<_> = resolver.oneshot(name).await.unwrap().collect();
        assert_eq!(found, ["93.184.216.34:0".parse().unwrap()]);
    }
}
