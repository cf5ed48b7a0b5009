use std::net::IpAddr;

use ipnet::IpNet;

use super::{
    address,
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
    pub(super) nat64: bool,
    pub(super) allowed_ports: Vec<u16>,
    pub(super) allowed_hosts: Vec<HostPattern>,
    pub(super) denied_hosts: Vec<HostPattern>,
    pub(super) allowed_networks: Vec<IpNet>,
    pub(super) denied_networks: Vec<IpNet>,
}

impl Rules {
    /// Judges the host and the port of a URL; `address` is set where the host is one.
    pub(super) fn judge(
        &self,
        host: &str,
        address: Option<IpAddr>,
        port: u16,
    ) -> Result<(), EndpointErrorKind> {
        match address {
            Some(addr) => self.judge_literal(addr)?,
            None => self.judge_name(host)?,
        }
        self.permits_port(port)
            .then_some(())
            .ok_or(EndpointErrorKind::Port)
    }

    pub(super) fn judge_literal(&self, addr: IpAddr) -> Result<(), EndpointErrorKind> {
        if !self.permits(addr) {
            Err(EndpointErrorKind::Address)
        } else if self.allowed_hosts.is_empty() || contains(&self.allowed_networks, addr) {
            Ok(())
        } else {
            Err(EndpointErrorKind::Host)
        }
    }

    /// Judges a well-formed name without a trailing dot.
    pub(super) fn judge_name(&self, name: &str) -> Result<(), EndpointErrorKind> {
        let listed_in = |hosts: &[HostPattern]| hosts.iter().any(|host| host.matches(name));

        if listed_in(&self.denied_hosts) {
            Err(EndpointErrorKind::Host)
        } else if !self.allowed_hosts.is_empty() {
            listed_in(&self.allowed_hosts)
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

    pub(super) fn permits(&self, addr: IpAddr) -> bool {
        if let Some(carried) = address::carried_v4(addr)
            && !self.permits(carried.into())
        {
            return false;
        }
        address::is_unicast(addr)
            && !contains(&self.denied_networks, addr)
            && (address::is_public(addr)
                || self.insecure_private_networks
                || contains(&self.allowed_networks, addr)
                || (self.nat64 && address::is_nat64(addr)))
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
