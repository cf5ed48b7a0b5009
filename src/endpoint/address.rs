//! Whether an address is public, belongs to a single host, or embeds another one.
//!
//! Written out rather than built on the standard library or a crate: the usual predicates accept
//! IPv6 addresses that embed an IPv4 address, and addresses that are registered as public but are
//! answered by a cloud's own host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;

/// Whether an address belongs to a host on the public internet: it is in no block of the IANA
/// special-purpose registries, whatever reachability they state.
pub(super) const fn is_public(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => is_public_v4(addr),
        IpAddr::V6(addr) => is_public_v6(addr),
    }
}

const fn is_public_v4(addr: Ipv4Addr) -> bool {
    !matches!(
        addr.octets(),
        [0, ..] // this network
            | [10, ..] // private
            | [100, 64..=127, ..] // carrier-grade NAT
            | [127, ..] // loopback
            | [161, 26, ..] // IBM Cloud's own services, reachable from each of its machines
            | [166, 8..=11, ..] // the same
            | [168, 63, 129, 16] // Azure's WireServer, reachable from each of its virtual machines
            | [169, 254, ..] // link-local; the metadata service of most clouds
            | [172, 16..=31, ..] // private
            | [192, 0, 0, _] // protocol assignments
            | [192, 0, 2, _] // documentation
            | [192, 31, 196, _] // AS112
            | [192, 52, 193, _] // AMT
            | [192, 88, 99, _] // 6to4 relays
            | [192, 168, ..] // private
            | [192, 175, 48, _] // AS112
            | [198, 18..=19, ..] // benchmarking
            | [198, 51, 100, _] // documentation
            | [203, 0, 113, _] // documentation
            | [224..=255, ..] // multicast, reserved, broadcast
    )
}

/// Only `2000::/3` is allocated to hosts. That alone excludes loopback, mapped, compatible and
/// translated IPv4, NAT64, unique-local, link-local, site-local and multicast addresses.
const fn is_public_v6(addr: Ipv6Addr) -> bool {
    matches!(addr.segments(), [0x2000..=0x3fff, ..])
        && !matches!(
            addr.segments(),
            [0x2001, 0..=0x1ff, ..] // protocol assignments, Teredo among them
                | [0x2001, 0xdb8, ..] // documentation
                | [0x2002, ..] // 6to4
                | [0x2620, 0x4f, 0x8000, ..] // AS112
                | [0x3fff, 0..=0xfff, ..] // documentation
        )
}

/// Whether an address can belong to a single host: it is not unspecified (which systems treat as
/// themselves), multicast or broadcast.
pub(super) const fn is_unicast(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => !matches!(
            addr.octets(),
            [0, ..] | [224..=239, ..] | [255, 255, 255, 255]
        ),
        IpAddr::V6(addr) => !addr.is_unspecified() && !addr.is_multicast(),
    }
}

/// Whether an address belongs to the link or to a cloud's own services, such as the metadata
/// service with its credentials. No host of an operator's own has one.
pub(super) const fn is_platform(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => matches!(
            addr.octets(),
            [100, 100, 100, 200] // Alibaba
                | [161, 26, ..] // IBM
                | [166, 8..=11, ..] // IBM
                | [168, 63, 129, 16] // Azure
                | [169, 254, ..] // link-local: Amazon, Azure, Google and most others
                | [192, 0, 0, _] // protocol assignments; Oracle
        ),
        IpAddr::V6(addr) => matches!(
            addr.segments(),
            [0xfe80..=0xfebf, ..] // link-local
                | [0xfd00, 0xec2, ..] // Amazon
                | [0xfd20, 0xce, ..] // Google
        ),
    }
}

/// `64:ff9b::/96`, the prefix of most NAT64 gateways.
pub(super) const NAT64: Ipv6Net =
    Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

/// Whether a prefix is as long as one of a NAT64 gateway can be (RFC 6052, 2.2).
pub(super) const fn is_nat64_prefix(prefix: &Ipv6Net) -> bool {
    matches!(prefix.prefix_len(), 32 | 40 | 48 | 56 | 64 | 96)
}

/// The IPv4 address behind a NAT64 gateway with this prefix, for an address that is in it. It
/// follows the prefix, and leaves out the ninth octet.
pub(super) fn nat64_v4(addr: Ipv6Addr, prefix: &Ipv6Net) -> Ipv4Addr {
    let mut v4 = [0; 4];
    let after = usize::from(prefix.prefix_len() / 8)..16;
    for (octet, at) in v4.iter_mut().zip(after.filter(|&at| at != 8)) {
        *octet = addr.octets()[at];
    }
    v4.into()
}

/// The IPv4 address that an IPv6 address embeds, where its prefix says that it embeds one.
///
/// ISATAP addresses do not count: they stand for an IPv4 address only inside the site that owns
/// the prefix. From anywhere else they are as public as that prefix.
pub(super) const fn carried_v4(addr: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(addr) = addr else {
        return None;
    };
    let (high, low) = match addr.segments() {
        // `::` and `::1` are the unspecified and the loopback address.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => return None,
        [0, 0, 0, 0, 0, 0, high, low] // compatible
        | [0, 0, 0, 0, 0, 0xffff, high, low] // mapped
        | [0, 0, 0, 0, 0xffff, 0, high, low] // translated
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low] // NAT64
        | [0x64, 0xff9b, 1, _, _, _, high, low] // NAT64, local use
        | [0x2002, high, low, ..] => (high, low), // 6to4
        [0x2001, 0, _, _, _, _, high, low] => (!high, !low), // Teredo
        _ => return None,
    };
    Some(Ipv4Addr::from_bits((high as u32) << 16 | low as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn unicast_leaves_out_what_is_no_single_host() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
            "::",
            "ff02::1",
        ] {
            assert!(!is_unicast(addr(text)), "{text}");
        }
        for text in [
            "127.0.0.1",
            "10.0.0.1",
            "169.254.169.254",
            "240.0.0.1",
            "::1",
            "fe80::1",
            "fd00::1",
        ] {
            assert!(is_unicast(addr(text)), "{text}");
        }
    }

    /// RFC 6052, 2.4.
    #[test]
    fn a_nat64_prefix_is_followed_by_the_address() {
        for (prefix, text) in [
            ("2001:db8::/32", "2001:db8:c000:221::"),
            ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
            ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
            ("64:ff9b::/96", "64:ff9b::192.0.2.33"),
        ] {
            let prefix: Ipv6Net = prefix.parse().unwrap();
            let addr: Ipv6Addr = text.parse().unwrap();
            assert!(is_nat64_prefix(&prefix) && prefix.contains(&addr), "{text}");
            assert_eq!(
                nat64_v4(addr, &prefix),
                Ipv4Addr::new(192, 0, 2, 33),
                "{text}"
            );
        }
        for prefix in ["::/0", "2001:db8::/33", "2001:db8::/128", "2001:db8::/95"] {
            assert!(!is_nat64_prefix(&prefix.parse().unwrap()), "{prefix}");
        }
    }

    #[test]
    fn carried_addresses_are_found() {
        let carriers = [
            "::192.0.2.1",
            "::ffff:192.0.2.1",
            "::ffff:0:192.0.2.1",
            "64:ff9b::192.0.2.1",
            "64:ff9b:1:2:3:4:192.0.2.1",
            "2002:c000:201::1",
            "2001:0:1:2:3:4:3fff:fdfe",
        ];
        for text in carriers {
            assert_eq!(
                carried_v4(addr(text)),
                Some(Ipv4Addr::new(192, 0, 2, 1)),
                "{text}"
            );
        }
        for text in [
            "::",
            "::1",
            "192.0.2.1",
            "2606:4700::1",
            "fe80::5efe:192.0.2.1",
        ] {
            assert_eq!(carried_v4(addr(text)), None, "{text}");
        }
    }
}
