use std::{
    io,
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use hickory_resolver::{
    Resolver,
    config::{LookupIpStrategy, ResolveHosts, ResolverConfig},
    proto::{ProtoError, rr::Name as DnsName},
};
use tokio::{
    runtime::{self, Handle},
    sync::Semaphore,
};

use super::{
    Resolve, ResolveFuture,
    counted_runtime::CountedConnections,
    system_config::{NameServers, SystemConfig},
};
use crate::sync::lock;

/// Resolves names as the system is configured: from its hosts file, else from its name servers.
pub(super) struct SystemResolver {
    system: Mutex<System>,
    /// One for each socket that may be open.
    sockets: Arc<Semaphore>,
}

struct System {
    config: SystemConfig,
    asking: Option<Asking>,
}

/// A resolver that asks these name servers. Its tasks run in the runtime in which it was created, so
/// another runtime needs another resolver.
struct Asking {
    runtime: runtime::Id,
    name_servers: Arc<NameServers>,
    resolver: Resolver<CountedConnections>,
}

impl SystemResolver {
    pub(super) fn new(sockets: usize) -> Self {
        Self::with_config(SystemConfig::default(), sockets)
    }

    fn with_config(config: SystemConfig, sockets: usize) -> Self {
        let system = System {
            config,
            asking: None,
        };
        Self {
            system: Mutex::new(system),
            sockets: Arc::new(Semaphore::new(sockets)),
        }
    }
}

impl System {
    fn resolver(&mut self, sockets: &Arc<Semaphore>) -> io::Result<Resolver<CountedConnections>> {
        let here = Handle::current().id();
        let name_servers = self.config.name_servers()?;
        if let Some(asking) = &self.asking
            && asking.runtime == here
            && Arc::ptr_eq(&asking.name_servers, &name_servers)
        {
            return Ok(asking.resolver.clone());
        }
        let resolver = build(&name_servers, sockets)?;
        self.asking = Some(Asking {
            runtime: here,
            name_servers,
            resolver: resolver.clone(),
        });
        Ok(resolver)
    }
}

fn build(
    name_servers: &NameServers,
    sockets: &Arc<Semaphore>,
) -> io::Result<Resolver<CountedConnections>> {
    let NameServers {
        servers,
        scopes,
        edns0,
    } = name_servers;
    let config = ResolverConfig::from_parts(None, Vec::new(), servers.clone());
    let connections = CountedConnections::new(Arc::clone(sockets), Arc::clone(scopes));
    let mut builder = Resolver::builder_with_config(config, connections);
    let options = builder.options_mut();
    options.edns0 = *edns0;
    // Asked before, and without a name server.
    options.use_hosts_file = ResolveHosts::Never;
    // Both address families are queried, so that both are judged.
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // The addresses of one family are held back until the query for the other has ended, answered
    // or not. Both tries of a query fit into the time of a look-up.
    options.timeout = Duration::from_secs(2);
    options.attempts = 1;
    // A query opens sockets for each name server that is asked.
    options.num_concurrent_reqs = 1;
    builder.build().map_err(io::Error::other)
}

/// Absolute, so that no search list applies. From the labels and not from the text: hickory's
/// grammar of text refuses names that the policy accepts, and reads some others as Unicode.
fn absolute(name: &str) -> Result<DnsName, ProtoError> {
    DnsName::from_labels(name.split('.').map(str::as_bytes))
}

impl Resolve for SystemResolver {
    fn resolve(&self, name: &str) -> ResolveFuture {
        let mut system = lock(&self.system);
        if let Some(addresses) = system.config.addresses(name) {
            return Box::pin(async { Ok(addresses) });
        }
        let resolver = system.resolver(&self.sockets);
        let name: io::Result<DnsName> = absolute(name).map_err(io::Error::other);
        Box::pin(async move {
            let found = resolver?.lookup_ip(name?).await.map_err(io::Error::other)?;
            Ok::<Vec<IpAddr>, _>(found.iter().collect())
        })
    }
}

#[cfg(test)]
mod tests;
