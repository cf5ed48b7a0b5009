use std::net::IpAddr;

use ipnet::{IpNet, Ipv6Net};

use super::{
    Endpoint, address,
    error::EndpointErrorKind,
    name::{self, HostPattern},
};

/// The ports from 1024 upward that the [fetch standard] blocks: the protocols that are spoken there
/// could interpret a request as commands.
///
/// [fetch standard]: https://fetch.spec.whatwg.org/#port-blocking
const BAD_PORTS: [u16; 19] = [
    1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669,
    6679, 6697, 10080,
];

/// The settings of an [`EndpointPolicy`](super::EndpointPolicy), and its verdicts.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    pub(super) insecure_http: bool,
    pub(super) insecure_private_networks: bool,
    /// The prefixes of NAT64 gateways.
    pub(super) nat64: Vec<Ipv6Net>,
    pub(super) allowed_ports: Vec<u16>,
    pub(super) allowed_hosts: Vec<HostPattern>,
    pub(super) denied_hosts: Vec<HostPattern>,
    pub(super) allowed_networks: Vec<IpNet>,
    pub(super) denied_networks: Vec<IpNet>,
    pub(super) permitted_hosts: Vec<HostPattern>,
    pub(super) permitted_networks: Vec<IpNet>,
}

impl Rules {
    /// Whether there is any host with which `http` is acceptable.
    pub(super) fn permit_http(&self) -> bool {
        self.insecure_http
            || !self.permitted_hosts.is_empty()
            || !self.permitted_networks.is_empty()
    }

    /// Judges the scheme, host and port of a URL.
    pub(super) fn judge(&self, endpoint: &Endpoint) -> Result<(), EndpointErrorKind> {
        let (host, address) = (endpoint.host(), endpoint.inner.address);
        let has_permit = || match address {
            Some(addr) => contains(&self.permitted_networks, addr),
            None => self.has_permit(host),
        };
        if !endpoint.is_https() && !self.insecure_http && !has_permit() {
            return Err(EndpointErrorKind::Scheme);
        }
        match address {
            Some(addr) => self.judge_literal(addr)?,
            None => self.judge_name(host)?,
        }
        self.permits_port(endpoint.port())
            .then_some(())
            .ok_or(EndpointErrorKind::Port)
    }

    pub(super) fn judge_literal(&self, addr: IpAddr) -> Result<(), EndpointErrorKind> {
        let is_listed =
            || contains(&self.allowed_networks, addr) || contains(&self.permitted_networks, addr);
        if !self.permits(addr) {
            Err(EndpointErrorKind::Address)
        } else if self.allowed_hosts.is_empty() || is_listed() {
            Ok(())
        } else {
            Err(EndpointErrorKind::Host)
        }
    }

    /// Judges a well-formed name without a trailing dot.
    pub(super) fn judge_name(&self, name: &str) -> Result<(), EndpointErrorKind> {
        if is_listed(&self.denied_hosts, name) {
            Err(EndpointErrorKind::Host)
        } else if self.has_permit(name) {
            Ok(())
        } else if !self.allowed_hosts.is_empty() {
            is_listed(&self.allowed_hosts, name)
                .then_some(())
                .ok_or(EndpointErrorKind::Host)
        } else if self.insecure_private_networks {
            Ok(())
        } else if name::is_local(name) {
            Err(EndpointErrorKind::LocalName)
        } else if name::is_single_label(name) {
            Err(EndpointErrorKind::SingleLabel)
        } else {
            Ok(())
        }
    }

    fn has_permit(&self, name: &str) -> bool {
        is_listed(&self.permitted_hosts, name)
    }

    /// Judges an address that any host could have.
    pub(super) fn permits(&self, addr: IpAddr) -> bool {
        self.permits_where(addr, |_| false)
    }

    /// Judges an address that this name resolves to.
    pub(super) fn permits_for(&self, name: &str, addr: IpAddr) -> bool {
        let has_permit = name::is_well_formed(name) && self.has_permit(name);
        self.permits_where(addr, |addr| has_permit && !address::is_platform(addr))
    }

    /// `also` are permitted beside what any host may have.
    fn permits_where(&self, addr: IpAddr, also: impl Fn(IpAddr) -> bool + Copy) -> bool {
        let mut is_nat64 = false;
        if let IpAddr::V6(addr) = addr {
            for prefix in self.nat64.iter().filter(|prefix| prefix.contains(&addr)) {
                let carried = address::nat64_v4(addr, prefix);
                if !self.permits_where(carried.into(), also) {
                    return false;
                }
                is_nat64 = true;
            }
        }
        if !is_nat64
            && let Some(carried) = address::carried_v4(addr)
            && !self.permits_where(carried.into(), also)
        {
            return false;
        }
        address::is_unicast(addr)
            && !contains(&self.denied_networks, addr)
            && (address::is_public(addr)
                || self.insecure_private_networks
                || contains(&self.allowed_networks, addr)
                || contains(&self.permitted_networks, addr)
                || is_nat64
                || also(addr))
    }

    fn permits_port(&self, port: u16) -> bool {
        let usual = match port {
            80 | 443 => true,
            1024.. => !BAD_PORTS.contains(&port),
            _ => false,
        };
        port != 0 && (usual || self.insecure_private_networks || self.allowed_ports.contains(&port))
    }
}

fn is_listed(hosts: &[HostPattern], name: &str) -> bool {
    hosts.iter().any(|host| host.matches(name))
}

fn contains(networks: &[IpNet], addr: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&addr))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_those_of_web_servers() {
        let rules = Rules::default();
        for port in [80, 443, 1024, 3000, 8000, 8080, 8443, 10079, 10081, 65535] {
            assert!(rules.permits_port(port), "{port}");
        }
        for port in [0, 1, 22, 25, 79, 81, 442, 444, 1023]
            .into_iter()
            .chain(BAD_PORTS)
        {
            assert!(!rules.permits_port(port), "{port}");
        }
        let rules = Rules {
            allowed_ports: vec![0, 591, 6000],
            ..rules
        };
        assert!(rules.permits_port(591));
        assert!(rules.permits_port(6000));
        assert!(!rules.permits_port(592));
        assert!(!rules.permits_port(0));
    }
}
