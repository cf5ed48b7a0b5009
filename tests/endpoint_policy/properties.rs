use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use proptest::prelude::*;
use tower_webhook::endpoint::EndpointErrorKind;

use super::{literal, private, public, registries::refused_blocks};

/// An IPv4 address in each form in which an IPv6 address can carry it.
fn carriers(v4: Ipv4Addr) -> [(&'static str, Ipv6Addr); 13] {
    let low = u128::from(v4.to_bits());
    let form = |prefix: &str, bits: u128| {
        let prefix: Ipv6Addr = prefix.parse().unwrap();
        Ipv6Addr::from_bits(prefix.to_bits() | bits)
    };
    [
        ("compatible", form("::", low)),
        ("mapped", form("::ffff:0:0", low)),
        ("translated", form("::ffff:0:0:0", low)),
        ("NAT64", form("64:ff9b::", low)),
        ("NAT64, local use", form("64:ff9b:1::", low)),
        ("6to4", form("2002::1", low << 80)),
        ("Teredo server", form("2001::", low << 64)),
        ("Teredo client", form("2001::", low ^ 0xffff_ffff)),
        ("ISATAP, link-local", form("fe80::5efe:0:0", low)),
        (
            "ISATAP, link-local, global id",
            form("fe80::200:5efe:0:0", low),
        ),
        ("site-local", form("fec0::", low)),
        ("unique-local", form("fd00::", low)),
        ("multicast", form("ff02::", low)),
    ]
}

fn any_v6() -> impl Strategy<Value = Ipv6Addr> {
    prop_oneof![
        any::<u128>(),
        any::<u128>().prop_map(|bits| bits >> 3 | 0x2000 << 112),
        (0..4u128, any::<u128>()).prop_map(|(net, bits)| (0x2000 + net) << 112 | bits >> 16),
        any::<u64>().prop_map(u128::from),
    ]
    .prop_map(Ipv6Addr::from_bits)
}

fn any_addr() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
        any_v6().prop_map(IpAddr::V6),
        (0..refused_blocks().len(), any::<u128>()).prop_map(|(index, bits)| {
            match refused_blocks()[index] {
                IpNet::V4(block) => {
                    let host = bits as u32 & block.hostmask().to_bits();
                    IpAddr::V4(Ipv4Addr::from_bits(block.network().to_bits() | host))
                }
                IpNet::V6(block) => {
                    let host = bits & block.hostmask().to_bits();
                    IpAddr::V6(Ipv6Addr::from_bits(block.network().to_bits() | host))
                }
            }
        }),
    ]
}

/// Text that resembles a URL in the places where readers disagree.
fn almost_url() -> impl Strategy<Value = String> {
    let scheme = prop_oneof!["https?://", "HTTPS?:/{1,3}", "[a-z]{0,6}:?/{0,2}"];
    let part = "[a-z0-9@:./\\\\?#%\\[\\]x_-]{0,12}";
    let host = prop_oneof![
        Just("example.com".to_owned()),
        "[0-9.x]{1,12}",
        "\\[[0-9a-f:.%]{0,20}\\]",
        "\\PC{0,10}",
        "[a-z.-]{0,10}",
    ];
    (scheme, part, host, part)
        .prop_map(|(scheme, before, host, after)| format!("{scheme}{before}{host}{after}"))
}

proptest! {
    #[test]
    fn just_what_is_in_no_special_block_is_permitted(addr in any_addr()) {
        let special = refused_blocks().iter().any(|block| block.contains(&addr));
        prop_assert_eq!(public().permits(addr), !special);
    }

    #[test]
    fn no_carrier_makes_an_address_better(addr in any::<Ipv4Addr>()) {
        for (form, carrier) in carriers(addr) {
            prop_assert!(!public().permits(carrier.into()), "{form}: {carrier}");
            prop_assert!(public().check(&literal(carrier.into())).is_err(), "{form}: {carrier}");
            let nat64 = public().with_nat64();
            prop_assert_eq!(nat64.permits(carrier.into()), form == "NAT64" && nat64.permits(addr.into()));
        }
    }

    /// Under a public prefix the last 64 bits are its owner's to assign: what is dialled is a host
    /// in that prefix, and the IPv4 address in it means something to that site's routers alone.
    #[test]
    fn isatap_is_judged_by_its_prefix(addr in any::<Ipv4Addr>(), prefix in 0x2600_0000_0000_0000..0x2604_0000_0000_0000u64) {
        let id = 0x0200_5efe_u128 << 32 | u128::from(addr.to_bits());
        let carrier = Ipv6Addr::from_bits(u128::from(prefix) << 64 | id);
        prop_assert!(public().permits(carrier.into()));
        let denied = public().with_denied_network("2600::/12").unwrap();
        prop_assert!(!denied.permits(carrier.into()));
    }

    #[test]
    fn a_literal_is_accepted_only_if_permitted(addr in any_addr()) {
        for policy in [public(), private(), public().with_nat64()] {
            prop_assert_eq!(policy.check(&literal(addr)).is_ok(), policy.permits(addr));
        }
    }

    #[test]
    fn an_address_is_seen_in_every_spelling(addr in any::<Ipv4Addr>()) {
        let [a, b, c, d] = addr.octets();
        let bits = addr.to_bits();
        let spellings = [
            format!("{bits}"),
            format!("0x{bits:X}"),
            format!("0{bits:o}"),
            format!("0x{a:x}.0{b:o}.{c}.{d}."),
            format!("{a}.{}", bits & 0x00ff_ffff),
            format!("{a}.{b}.{}", bits & 0xffff),
        ];
        for host in spellings {
            let endpoint = private().with_allowed_network("0.0.0.0/0").unwrap().check(&format!("https://{host}/"));
            match endpoint {
                Ok(endpoint) => prop_assert_eq!(endpoint.host(), addr.to_string()),
                Err(error) => prop_assert_eq!(error.kind(), EndpointErrorKind::Address),
            }
            prop_assert_eq!(public().check(&format!("https://{host}/")).is_ok(), public().permits(addr.into()));
        }
    }

    #[test]
    fn any_text_is_judged_without_a_panic(text in any::<String>(), almost in almost_url()) {
        for policy in [public(), private()] {
            for text in [&text, &almost, &format!("https://{text}"), &format!("https://example.com/{text}")] {
                let _ = policy.check(text);
                let _ = policy.permits_host(text);
                let _ = policy.clone().with_denied_host(text);
                let _ = policy.clone().with_denied_network(text);
            }
        }
    }

    #[test]
    fn what_is_accepted_reads_back_the_same(almost in almost_url(), path in "[ -~é]{0,20}") {
        for text in [almost, format!("https://example.com/{path}")] {
            let policy = private().with_insecure_http();
            if let Ok(endpoint) = policy.check(&text) {
                let again = policy.check(&endpoint.to_url_string()).unwrap();
                prop_assert_eq!(again.uri(), endpoint.uri());
                prop_assert_eq!(again.host(), endpoint.host());
                prop_assert!(policy.permits_host(endpoint.host()));
                let dialled = endpoint.uri().host().unwrap();
                prop_assert_eq!(dialled.trim_matches(['[', ']']), endpoint.host());
                let default = if endpoint.is_https() { 443 } else { 80 };
                prop_assert_eq!(endpoint.uri().port_u16().unwrap_or(default), endpoint.port());
                prop_assert!(!endpoint.uri().authority().unwrap().as_str().contains('@'));
            }
        }
    }
}
