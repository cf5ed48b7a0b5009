//! Whether an address is public, belongs to a single host, or embeds another one.
//!
//! Written out rather than built on the standard library or a crate: the usual predicates accept
//! IPv6 addresses that embed an IPv4 address, and addresses that are registered as public but are
//! answered by a cloud's own host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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

/// Whether an address is in `64:ff9b::/96`, the prefix of NAT64 gateways.
pub(super) const fn is_nat64(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(addr) if matches!(addr.segments(), [0x64, 0xff9b, 0, 0, 0, 0, ..]))
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
