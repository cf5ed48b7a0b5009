use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;

use super::{
    Endpoint, address,
    error::{EndpointError, EndpointErrorKind},
    name::{self, HostPattern},
    read,
    rules::Rules,
};

/// Which endpoints a caller may name, and which addresses may be connected to.
///
/// The default is [`public`](Self::public). A policy judges twice: [`check`](Self::check) judges
/// the URL without resolving anything, and [`permits_for`](Self::permits_for) judges each address
/// that its host later resolves to. A policy is cheap to clone.
///
/// # Lists
///
/// In order of precedence:
///
/// 1. A denied host or network is refused, whatever else is set.
/// 2. Permits add to what is accepted otherwise. They are for what is the operator's own:
///    - A [permitted host](Self::with_permitted_host) is accepted whatever its name (`localhost`,
///      single labels, `*.internal` and so on), with `http` as well as `https`. It may have private
///      addresses and loopback; no other host may have them for that.
///    - A [permitted network](Self::with_permitted_network) is accepted where it is named in a URL,
///      with `http` as well as `https`, and where any acceptable name resolves to it.
/// 3. Once any host is allowed, only allowed and permitted hosts are accepted, and an address in a
///    URL only where it is in an allowed or permitted network. Allowing a host lifts the rules for
///    names, but neither those for the addresses that it resolves to nor those for the scheme.
/// 4. An address in an allowed network is accepted even though it is not public. Other addresses
///    are judged as before: allowing a network widens the policy, it does not restrict it.
///
/// | to say | set |
/// | --- | --- |
/// | nobody but our partner | `with_allowed_host("*.partner.example")` |
/// | all that is public, and our own services | `with_permitted_host("*.internal")` |
/// | the same, by address | `with_permitted_network("10.20.0.0/16")` |
/// | for trying out on one machine | `with_permitted_host("localhost")` |
/// | whatever the service can reach | `with_insecure_private_networks()` |
///
/// The rules for ports hold for all of them: [`with_allowed_port`](Self::with_allowed_port) adds
/// one.
///
/// A host is a name, `hooks.example.com`, or all names below one, `*.example.com`, which does not
/// include `example.com` itself. Case, a trailing dot and the spelling of international names make
/// no difference. An IPv6 address that embeds an IPv4 address (mapped, translated, NAT64, 6to4,
/// Teredo) is accepted only where both are. Addresses that cannot belong to a single host
/// (unspecified, multicast, broadcast) are always refused.
///
/// # Deployment
///
/// A policy is defence in depth, not a substitute for egress rules: have the network, too, refuse
/// connections from the service to whatever callers must not reach. Also deny the deployment's own
/// public names: to this policy their addresses are public, but from inside they often give access
/// to more.
///
/// # Examples
///
/// ```
/// use tower_webhook::{EndpointPolicy, endpoint::EndpointErrorKind};
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
///
/// let policy = EndpointPolicy::public().with_permitted_host("*.internal")?;
/// assert!(policy.check("https://hooks.example.com/in").is_ok());
/// assert!(policy.check("http://billing.internal:8080/in").is_ok());
/// let private = "10.20.1.1".parse().unwrap();
/// assert!(policy.permits_for("billing.internal", private));
/// assert!(!policy.permits_for("hooks.example.com", private));
/// # Ok::<(), tower_webhook::endpoint::EndpointError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct EndpointPolicy {
    rules: Arc<Rules>,
}

impl EndpointPolicy {
    /// Accepts `https` URLs of hosts on the public internet.
    ///
    /// - Ports: 80, 443, and from 1024 upward, except those that the fetch standard blocks.
    /// - Names: two labels or more; neither equal to nor below a name for local use:
    ///   `localhost`, `local`, `localdomain`, `internal`, `home.arpa`, `svc`, `cluster.local`,
    ///   `onion` and so on.
    /// - Addresses: in no block of the IANA special-purpose registries, however they are spelled.
    #[must_use]
    pub fn public() -> Self {
        Self::default()
    }

    /// Accepts `http` URLs, too. Anybody on the network path can then read and change deliveries.
    #[must_use]
    pub fn with_insecure_http(mut self) -> Self {
        self.rules_mut().insecure_http = true;
        self
    }

    /// Accepts every name, every port and the addresses of all hosts, including loopback, private
    /// networks, and the metadata service of a cloud. For development, and for a deployment whose
    /// callers may reach whatever the service itself can reach. The lists still apply, and `http`
    /// remains a separate setting.
    #[must_use]
    pub fn with_insecure_private_networks(mut self) -> Self {
        self.rules_mut().insecure_private_networks = true;
        self
    }

    /// Accepts addresses in `64:ff9b::/96` that embed an acceptable IPv4 address. For hosts
    /// that reach IPv4 through a NAT64 gateway with that prefix.
    #[must_use]
    pub fn with_nat64(mut self) -> Self {
        self.rules_mut().nat64.push(address::NAT64);
        self
    }

    /// Judges the addresses of this network by the IPv4 address that they embed, and by nothing
    /// else than the deny list: it is the network's own NAT64 prefix (RFC 6052), such as
    /// `2001:db8:64::/96`.
    ///
    /// A network that has such a prefix should name it here. To others its addresses look public,
    /// and `2001:db8:64::10.0.0.1` leads to 10.0.0.1.
    ///
    /// # Errors
    ///
    /// [`InvalidNetwork`](EndpointErrorKind::InvalidNetwork) if it is not an IPv6 network of 32, 40,
    /// 48, 56, 64 or 96 bits.
    pub fn with_nat64_prefix(mut self, prefix: &str) -> Result<Self, EndpointError> {
        match parse_network(prefix)? {
            IpNet::V6(prefix) if address::is_nat64_prefix(&prefix) => {
                self.rules_mut().nat64.push(prefix);
                Ok(self)
            }
            _ => Err(EndpointError::new(EndpointErrorKind::InvalidNetwork)),
        }
    }

    /// Accepts one more port. Port 0 is not a usable port and stays refused.
    #[must_use]
    pub fn with_allowed_port(mut self, port: u16) -> Self {
        self.rules_mut().allowed_ports.push(port);
        self
    }

    /// Accepts only this host and other allowed or permitted hosts; see [Lists](Self#lists).
    ///
    /// # Errors
    ///
    /// [`InvalidHost`](EndpointErrorKind::InvalidHost) if it is neither a name nor `*.` followed
    /// by a name. For addresses, use [`with_allowed_network`](Self::with_allowed_network).
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
    /// [`InvalidHost`](EndpointErrorKind::InvalidHost), as for
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
    /// address, or a network with bits set beyond its prefix, such as `10.20.0.1/16`.
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
    /// [`InvalidNetwork`](EndpointErrorKind::InvalidNetwork), as for
    /// [`with_allowed_network`](Self::with_allowed_network).
    pub fn with_denied_network(mut self, network: &str) -> Result<Self, EndpointError> {
        self.rules_mut()
            .denied_networks
            .push(parse_network(network)?);
        Ok(self)
    }

    /// Accepts this host as well, with `http` or `https`; see [Lists](Self#lists). Its name may be
    /// one for local use, and resolve to private addresses and to loopback.
    ///
    /// Permit only names whose DNS records are your own: whoever sets them chooses where deliveries
    /// go. Addresses at which a cloud answers its machines are refused all the same, so that
    /// `*.internal` does not open `metadata.google.internal`: link-local ones, and what Alibaba,
    /// Amazon, Azure, Google, IBM and Oracle have besides.
    ///
    /// # Errors
    ///
    /// [`InvalidHost`](EndpointErrorKind::InvalidHost), as for
    /// [`with_allowed_host`](Self::with_allowed_host). For addresses, use
    /// [`with_permitted_network`](Self::with_permitted_network).
    pub fn with_permitted_host(mut self, host: &str) -> Result<Self, EndpointError> {
        self.rules_mut()
            .permitted_hosts
            .push(HostPattern::parse(host)?);
        Ok(self)
    }

    /// Accepts the addresses of this network, such as `10.20.0.0/16`, or this single address as
    /// well, in a URL with `http` or `https`; see [Lists](Self#lists).
    ///
    /// Any name may resolve to them, but with `https` only, unless the name is permitted, too.
    ///
    /// # Errors
    ///
    /// [`InvalidNetwork`](EndpointErrorKind::InvalidNetwork), as for
    /// [`with_allowed_network`](Self::with_allowed_network).
    pub fn with_permitted_network(mut self, network: &str) -> Result<Self, EndpointError> {
        self.rules_mut()
            .permitted_networks
            .push(parse_network(network)?);
        Ok(self)
    }

    /// Judges the URL that a caller named. Nothing is sent, and no name is resolved.
    ///
    /// The URL is parsed once, as browsers parse it. Everything is judged in its normal form, which
    /// is also what requests are sent to: `127.1`, `0x7f.0.0.1` and `①②⑦.⓪.⓪.①` are all the
    /// address 127.0.0.1. The fragment and a trailing dot of the host are dropped.
    ///
    /// # Errors
    ///
    /// [`kind`](EndpointError::kind) says which rule was broken. The error depends only on the
    /// URL and the policy, so a caller learns nothing from it about any network.
    pub fn check(&self, url: &str) -> Result<Endpoint, EndpointError> {
        let mut endpoint = read::read(url, self.rules.permit_http())?;
        self.rules.judge(&endpoint).map_err(EndpointError::new)?;
        if let Some(inner) = Arc::get_mut(&mut endpoint.inner) {
            inner.permitted_by = Some(Arc::clone(&self.rules));
        }
        Ok(endpoint)
    }

    /// Whether an address may be connected to on behalf of a caller, whatever host has it.
    #[must_use]
    pub fn permits(&self, addr: IpAddr) -> bool {
        self.rules.permits(addr)
    }

    /// Whether an address may be connected to that this host resolves to. A
    /// [permitted host](Self::with_permitted_host) may have more of them than others.
    #[must_use]
    pub fn permits_for(&self, host: &str, addr: IpAddr) -> bool {
        self.rules
            .permits_for(name::without_trailing_dot(host), addr)
    }

    /// Whether an endpoint may name this host: a name, or an address with or without brackets.
    /// The addresses of a name still have to be judged by [`permits_for`](Self::permits_for).
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

    /// Whether an endpoint that some policy accepted is acceptable under this one.
    pub(crate) fn accepts(&self, endpoint: &Endpoint) -> bool {
        // Most often it was this same policy.
        let same = |rules| Arc::ptr_eq(rules, &self.rules);
        if endpoint.inner.permitted_by.as_ref().is_some_and(same) {
            return true;
        }
        self.rules.judge(endpoint).is_ok()
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
