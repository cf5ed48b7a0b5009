use ipnet::IpNet;

use super::{addr, literal, public};

/// The IANA IPv4 and IPv6 special-purpose address registries as of 2025-10-09, blocks registered
/// as globally reachable among them.
const REGISTRIES: &str = "
    0.0.0.0/8 0.0.0.0/32 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12
    192.0.0.0/24 192.0.0.0/29 192.0.0.8/32 192.0.0.9/32 192.0.0.10/32 192.0.0.170/32
    192.0.0.171/32 192.0.2.0/24 192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.88.99.2/32
    192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4
    255.255.255.255/32
    ::1/128 ::/128 ::ffff:0:0/96 64:ff9b::/96 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23
    2001::/32 2001:1::1/128 2001:1::2/128 2001:1::3/128 2001:2::/48 2001:3::/32 2001:4:112::/48
    2001:10::/28 2001:20::/28 2001:30::/28 2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20
    5f00::/16 fc00::/7 fe80::/10";

/// What is refused beyond the registries: what IBM Cloud and Azure answer at, multicast, deprecated site-local
/// addresses, and a sample of what is not allocated.
const OTHERS: &str = "161.26.0.0/16 166.8.0.0/14 168.63.129.16/32 224.0.0.0/4 ff00::/8 fec0::/10 ::/3 4000::/2 8000::/1";

/// Where the refused blocks of the public ranges end: the last public address below, the first and
/// the last refused one, the first public address above.
const BOUNDARIES: &str = "
    -               0.0.0.0       0.255.255.255   1.0.0.0
    9.255.255.255   10.0.0.0      10.255.255.255  11.0.0.0
    100.63.255.255  100.64.0.0    100.127.255.255 100.128.0.0
    126.255.255.255 127.0.0.0     127.255.255.255 128.0.0.0
    161.25.255.255  161.26.0.0    161.26.255.255  161.27.0.0
    166.7.255.255   166.8.0.0     166.11.255.255  166.12.0.0
    168.63.129.15   168.63.129.16 168.63.129.16   168.63.129.17
    169.253.255.255 169.254.0.0   169.254.255.255 169.255.0.0
    172.15.255.255  172.16.0.0    172.31.255.255  172.32.0.0
    191.255.255.255 192.0.0.0     192.0.0.255     192.0.1.0
    192.0.1.255     192.0.2.0     192.0.2.255     192.0.3.0
    192.31.195.255  192.31.196.0  192.31.196.255  192.31.197.0
    192.52.192.255  192.52.193.0  192.52.193.255  192.52.194.0
    192.88.98.255   192.88.99.0   192.88.99.255   192.88.100.0
    192.167.255.255 192.168.0.0   192.168.255.255 192.169.0.0
    192.175.47.255  192.175.48.0  192.175.48.255  192.175.49.0
    198.17.255.255  198.18.0.0    198.19.255.255  198.20.0.0
    198.51.99.255   198.51.100.0  198.51.100.255  198.51.101.0
    203.0.112.255   203.0.113.0   203.0.113.255   203.0.114.0
    223.255.255.255 224.0.0.0     255.255.255.255 -
    - :: 1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 2000::
    2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff 2001:: 2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff 2001:200::
    2001:db7:ffff:ffff:ffff:ffff:ffff:ffff 2001:db8:: 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff 2001:db9::
    2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff 2002:: 2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff 2003::
    2620:4f:7fff:ffff:ffff:ffff:ffff:ffff 2620:4f:8000:: 2620:4f:8000:ffff:ffff:ffff:ffff:ffff 2620:4f:8001::
    3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff 3fff:: 3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff 3fff:1000::
    3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 4000:: ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff -";

pub(crate) fn refused_blocks() -> Vec<IpNet> {
    let blocks = REGISTRIES.split_whitespace();
    blocks
        .chain(OTHERS.split_whitespace())
        .map(|block| block.parse().unwrap())
        .collect()
}

#[test]
fn refused_blocks_end_where_they_should() {
    for line in BOUNDARIES.lines().filter(|line| !line.is_empty()) {
        let [below, first, last, above] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        for outside in [below, above].into_iter().filter(|text| *text != "-") {
            assert!(public().permits(addr(outside)), "{outside}");
            assert!(public().check(&literal(addr(outside))).is_ok(), "{outside}");
        }
        for inside in [first, last] {
            assert!(!public().permits(addr(inside)), "{inside}");
            assert!(public().check(&literal(addr(inside))).is_err(), "{inside}");
        }
    }
}

#[test]
fn every_registered_block_is_refused_from_end_to_end() {
    for block in refused_blocks() {
        assert!(!public().permits(block.network()), "{block}");
        assert!(!public().permits(block.broadcast()), "{block}");
    }
}
