use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;

use super::{
    Endpoint,
    error::{EndpointError, EndpointErrorKind},
    name::{self, HostPattern},
    read,
    rules::Rules,
};

/// Which endpoints a caller may name, and which addresses may be connected to.
///
/// The default is [`public`](Self::public). It judges twice: [`check`](Self::check) reads the URL
/// without looking anything up, and [`permits`](Self::permits) judges each address that its host
/// later turns out to have. A policy is cheap to clone.
///
/// # Lists
///
/// In order of precedence:
///
/// 1. A denied host or network is refused, whatever else is set.
/// 2. Once any host is allowed, only allowed hosts are accepted, and addresses in a URL only
///    where they are in an allowed network. Naming a host lifts the rules for names
///    (`localhost`, single labels and so on), but not those for the addresses it resolves to.
/// 3. An address in an allowed network is accepted though it is not public. Other addresses are
///    judged as before: this widens, it does not restrict.
///
/// A host is a name, `hooks.example.com`, or all names below one, `*.example.com`, which leaves
/// out `example.com` itself. Case, a trailing dot and the spelling of international names make no
/// difference. An IPv6 address that stands for an IPv4 address (mapped, translated, NAT64, 6to4,
/// Teredo) is accepted only where both are. Addresses that are no single host's (unspecified,
/// multicast, broadcast) are always refused.
///
/// # Deployment
///
/// A policy is defence in depth, not a substitute for egress rules: let the network, too, refuse
/// connections from the service to what callers must not reach. And deny the deployment's own
/// public names: they are public addresses to this policy, yet often reach further from inside.
///
/// # Examples
///
/// ```
/// use tower_webhook::{EndpointErrorKind, EndpointPolicy};
///
/// let policy = EndpointPolicy::public();
/// assert!(policy.check("https://hooks.example.com/in").is_ok());
/// let error = policy.check("https://2130706433/").unwrap_err(); // is 127.0.0.1
/// assert_eq!(error.kind(), EndpointErrorKind::Address);
///
/// let policy = EndpointPolicy::public()
///     .with_denied_host("api.example.com")?
///     .with_denied_host("*.api.example.com")?
///     .with_allowed_network("10.20.0.0/16")?;
/// assert!(policy.check("https://api.example.com/run").is_err());
/// assert!(policy.permits("10.20.1.1".parse().unwrap()));
/// assert!(!policy.permits("10.21.1.1".parse().unwrap()));
/// # Ok::<(), tower_webhook::EndpointError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct EndpointPolicy {
    rules: Arc<Rules>,
}

impl EndpointPolicy {
    /// Accepts `https` URLs of hosts on the public internet.
    ///
    /// - Ports: 80, 443, and from 1024 upward, less those the fetch standard blocks.
    /// - Names: of two labels or more; not `localhost` or below `localhost`, `local`,
    ///   `localdomain`, `internal`, `home.arpa`, `svc`, `cluster.local`, `onion` and so on.
    /// - Addresses: in no block of the IANA special-purpose registries, whichever way they are
    ///   spelled.
    #[must_use]
    pub fn public() -> Self {
        Self::default()
    }

    /// Accepts `http` URLs, too. Whoever is on the way can then read and change deliveries.
    #[must_use]
    pub fn with_insecure_http(mut self) -> Self {
        self.rules_mut().insecure_http = true;
        self
    }

    /// Accepts every name, every port and the addresses of all hosts: loopback, private
    /// networks, and the metadata service of a cloud. For trying out, and for a deployment whose
    /// callers may reach whatever the service itself can reach. The lists keep their say, and
    /// `http` stays a setting of its own.
    #[must_use]
    pub fn with_insecure_private_networks(mut self) -> Self {
        self.rules_mut().insecure_private_networks = true;
        self
    }

    /// Accepts addresses in `64:ff9b::/96` that stand for an acceptable IPv4 address. For hosts
    /// that reach IPv4 through a NAT64 gateway with that prefix.
    #[must_use]
    pub fn with_nat64(mut self) -> Self {
        self.rules_mut().nat64 = true;
        self
    }

    /// Accepts one more port. Port 0 is no port of a host and stays refused.
    #[must_use]
    pub fn with_allowed_port(mut self, port: u16) -> Self {
        self.rules_mut().allowed_ports.push(port);
        self
    }

    /// Accepts only this host and others so allowed; see [Lists](Self#lists).
    ///
    /// # Errors
    ///
    /// [`InvalidHost`](EndpointErrorKind::InvalidHost) if it is neither a name nor `*.` followed
    /// by a name. Addresses are a matter of networks.
    pub fn with_allowed_host(mut self, host: &str) -> Result<Self, EndpointError> {
        self.rules_mut()
            .allowed_hosts
            .push(HostPattern::parse(host)?);
        Ok(self)
    }

    /// Refuses this host; see [Lists](Self#lists).
    ///
    /// # Errors
    ///
    /// [`InvalidHost`](EndpointErrorKind::InvalidHost), as
    /// [`with_allowed_host`](Self::with_allowed_host).
    pub fn with_denied_host(mut self, host: &str) -> Result<Self, EndpointError> {
        self.rules_mut()
            .denied_hosts
            .push(HostPattern::parse(host)?);
        Ok(self)
    }

    /// Accepts the addresses of this network, such as `10.20.0.0/16`, or this single address;
    /// see [Lists](Self#lists).
    ///
    /// # Errors
    ///
    /// [`InvalidNetwork`](EndpointErrorKind::InvalidNetwork) if it is neither a network nor an
    /// address, or a network with bits set behind its prefix, such as `10.20.0.1/16`.
    pub fn with_allowed_network(mut self, network: &str) -> Result<Self, EndpointError> {
        self.rules_mut()
            .allowed_networks
            .push(parse_network(network)?);
        Ok(self)
    }

    /// Refuses the addresses of this network, such as `198.41.0.0/24`, or this single address;
    /// see [Lists](Self#lists).
    ///
    /// # Errors
    ///
    /// [`InvalidNetwork`](EndpointErrorKind::InvalidNetwork), as
    /// [`with_allowed_network`](Self::with_allowed_network).
    pub fn with_denied_network(mut self, network: &str) -> Result<Self, EndpointError> {
        self.rules_mut()
            .denied_networks
            .push(parse_network(network)?);
        Ok(self)
    }

    /// Reads the URL that a caller named. Nothing is sent, and no name is looked up.
    ///
    /// The URL is read once, as browsers read it, and everything is judged in the normal form
    /// that is then sent to: `127.1`, `0x7f.0.0.1` and `①②⑦.⓪.⓪.①` are all the address
    /// 127.0.0.1. The fragment and a dot at the end of the host are dropped.
    ///
    /// # Errors
    ///
    /// [`kind`](EndpointError::kind) says which rule was broken. The error depends on the URL and
    /// the policy alone, so a caller learns nothing from it about any network.
    pub fn check(&self, url: &str) -> Result<Endpoint, EndpointError> {
        let mut endpoint = read::read(url, self.rules.insecure_http)?;
        self.rules
            .judge(endpoint.host(), endpoint.inner.address, endpoint.port())
            .map_err(EndpointError::new)?;
        if let Some(inner) = Arc::get_mut(&mut endpoint.inner) {
            inner.permitted_by = Some(Arc::clone(&self.rules));
        }
        Ok(endpoint)
    }

    /// Whether an address may be connected to on behalf of a caller.
    #[must_use]
    pub fn permits(&self, addr: IpAddr) -> bool {
        self.rules.permits(addr)
    }

    /// Whether a host may be named in an endpoint: a name, or an address with or without
    /// brackets. Where it is a name, its addresses are still to be judged by
    /// [`permits`](Self::permits).
    #[must_use]
    pub fn permits_host(&self, host: &str) -> bool {
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        if let Ok(addr) = bare.unwrap_or(host).parse() {
            return self.rules.judge_literal(addr).is_ok();
        }
        let name = name::without_trailing_dot(host);
        name::is_well_formed(name) && self.rules.judge_name(name).is_ok()
    }

    /// Whether an endpoint that was read under some policy is acceptable under this one.
    pub(crate) fn accepts(&self, endpoint: &Endpoint) -> bool {
        // Most often it was this one.
        let same = |rules| Arc::ptr_eq(rules, &self.rules);
        if endpoint.inner.permitted_by.as_ref().is_some_and(same) {
            return true;
        }
        let scheme = endpoint.is_https() || self.rules.insecure_http;
        let judge = |(host, port)| self.rules.judge(host, endpoint.inner.address, port);
        scheme && judge((endpoint.host(), endpoint.port())).is_ok()
    }

    fn rules_mut(&mut self) -> &mut Rules {
        Arc::make_mut(&mut self.rules)
    }
}

fn parse_network(text: &str) -> Result<IpNet, EndpointError> {
    if let Ok(addr) = text.parse::<IpAddr>() {
        return Ok(addr.into());
    }
    text.parse::<IpNet>()
        .ok()
        .filter(|network| network.trunc() == *network)
        .ok_or(EndpointError::new(EndpointErrorKind::InvalidNetwork))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_policy_permits_another_judges_anew() {
        let lax = EndpointPolicy::public().with_insecure_http();
        let endpoint = lax.check("http://hooks.example.com/").unwrap();
        assert!(lax.accepts(&endpoint) && lax.clone().accepts(&endpoint));
        assert!(!EndpointPolicy::public().accepts(&endpoint));
        let stricter = lax.with_denied_host("hooks.example.com").unwrap();
        assert!(!stricter.accepts(&endpoint));
        let same = EndpointPolicy::public().with_insecure_http();
        assert!(same.accepts(&endpoint));
    }
}
