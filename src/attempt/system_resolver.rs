use std::{io, sync::OnceLock};

use hickory_resolver::{
    ResolverBuilder, TokioResolver, config::LookupIpStrategy, net::runtime::TokioRuntimeProvider,
};

use super::{Resolve, Resolving};

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
        let builder = TokioResolver::builder_tokio().map_err(io::Error::other)?;
        let resolver = build(builder)?;
        Ok(self.resolver.get_or_init(|| resolver).clone())
    }
}

fn build(mut builder: ResolverBuilder<TokioRuntimeProvider>) -> io::Result<TokioResolver> {
    let options = builder.options_mut();
    // Both families are asked for, so that both are judged.
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    builder.build().map_err(io::Error::other)
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
    use std::{net::Ipv4Addr, sync::Arc};

    use hickory_resolver::{
        config::{ConnectionConfig, NameServerConfig, ResolverConfig},
        proto::rr::Name as DnsName,
    };
    use tokio::net::UdpSocket;

    use super::*;

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
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let resolver = SystemResolver {
            resolver: build(builder).unwrap().into(),
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
