//! What an operator adds to what is public.

use tower_webhook::{
    EndpointPolicy,
    endpoint::EndpointErrorKind::{
        self, Address, Host, InvalidHost, InvalidNetwork, LocalName, Port, Scheme, SingleLabel,
    },
};

use super::addr;

fn permitting(host: &str) -> EndpointPolicy {
    EndpointPolicy::public().with_permitted_host(host).unwrap()
}

fn refused(policy: &EndpointPolicy, url: &str) -> EndpointErrorKind {
    match policy.check(url) {
        Ok(endpoint) => panic!("{endpoint} is accepted"),
        Err(error) => error.kind(),
    }
}

#[test]
fn our_own_names_beside_all_that_is_public() {
    let policy = permitting("*.internal")
        .with_permitted_host("intranet")
        .unwrap();
    for url in [
        "https://hooks.example.com/",
        "https://8.8.8.8/",
        "https://billing.internal/",
        "http://billing.internal:8080/in",
        "http://A.B.Internal./",
        "http://intranet/",
    ] {
        assert!(policy.check(url).is_ok(), "{url}");
    }
    for (url, kind) in [
        ("http://hooks.example.com/", Scheme),
        ("http://8.8.8.8/", Scheme),
        ("http://10.0.0.1/", Scheme),
        ("http://internal/", Scheme),
        ("http://billing.internal.example.com/", Scheme),
        ("https://internal/", LocalName),
        ("https://a.local/", LocalName),
        ("https://other/", SingleLabel),
        ("https://10.0.0.1/", Address),
    ] {
        assert_eq!(refused(&policy, url), kind, "{url}");
    }
    for host in ["billing.internal", "intranet", "hooks.example.com"] {
        assert!(policy.permits_host(host), "{host}");
    }
    assert!(!policy.permits_host("internal"));
}

#[test]
fn only_our_own_names_may_have_private_addresses() {
    let policy = permitting("*.internal");
    for text in [
        "10.0.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "127.0.0.1",
        "::1",
        "fd12:3456::1",
        "::ffff:10.0.0.1",
        "93.184.216.34",
    ] {
        let addr = addr(text);
        let is_public = text == "93.184.216.34";
        assert!(policy.permits_for("billing.internal", addr), "{text}");
        assert!(policy.permits_for("Billing.Internal.", addr), "{text}");
        for host in [
            "hooks.example.com",
            "internal",
            "x.internal.example.com",
            "",
        ] {
            assert_eq!(policy.permits_for(host, addr), is_public, "{host} {text}");
        }
        assert_eq!(policy.permits(addr), is_public, "{text}");
    }
}

/// `*.internal` has `metadata.google.internal` in it.
#[test]
fn a_permitted_name_does_not_open_the_cloud_it_runs_in() {
    let policy = permitting("*.internal");
    for text in [
        "169.254.169.254",
        "169.254.170.2",
        "168.63.129.16",
        "161.26.0.10",
        "166.8.0.1",
        "166.11.255.255",
        "100.100.100.200",
        "192.0.0.192",
        "fe80::1",
        "fd00:ec2::254",
        "fd20:ce::254",
        "::ffff:169.254.169.254",
        "64:ff9b::169.254.169.254",
        "2002:a9fe:a9fe::1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "ff02::1",
    ] {
        let addr = addr(text);
        assert!(
            !policy.permits_for("metadata.google.internal", addr),
            "{text}"
        );
    }
    let asked = policy.with_permitted_network("169.254.169.254").unwrap();
    assert!(asked.permits_for("metadata.google.internal", addr("169.254.169.254")));
}

#[test]
fn what_is_denied_stays_denied() {
    let policy = permitting("*.internal")
        .with_permitted_network("10.0.0.0/8")
        .and_then(|policy| policy.with_denied_host("vault.internal"))
        .and_then(|policy| policy.with_denied_host("*.vault.internal"))
        .and_then(|policy| policy.with_denied_network("10.9.0.0/16"))
        .unwrap();
    for scheme in ["http", "https"] {
        for host in ["vault.internal", "a.vault.internal"] {
            assert_eq!(refused(&policy, &format!("{scheme}://{host}/")), Host);
        }
        assert_eq!(refused(&policy, &format!("{scheme}://10.9.0.1/")), Address);
    }
    for text in ["10.9.0.1", "::ffff:10.9.0.1"] {
        assert!(!policy.permits_for("billing.internal", addr(text)));
        assert!(!policy.permits(addr(text)));
    }
    assert!(policy.permits_for("billing.internal", addr("10.8.0.1")));
}

#[test]
fn permits_add_to_a_list_that_narrows() {
    let policy = permitting("*.internal")
        .with_permitted_network("10.20.0.0/16")
        .and_then(|policy| policy.with_allowed_host("*.partner.example"))
        .unwrap();
    for url in [
        "https://hooks.partner.example/",
        "https://billing.internal/",
        "http://billing.internal/",
        "https://10.20.0.1/",
        "http://10.20.0.1/",
    ] {
        assert!(policy.check(url).is_ok(), "{url}");
    }
    for (url, kind) in [
        ("https://hooks.example.com/", Host),
        ("https://8.8.8.8/", Host),
        ("http://hooks.partner.example/", Scheme),
        ("https://10.21.0.1/", Address),
    ] {
        assert_eq!(refused(&policy, url), kind, "{url}");
    }
    assert!(!policy.permits_for("hooks.partner.example", addr("10.21.0.1")));
}

#[test]
fn our_own_network() {
    let policy = EndpointPolicy::public()
        .with_permitted_network("10.20.0.0/16")
        .and_then(|policy| policy.with_permitted_network("fd12::/16"))
        .unwrap();
    for url in [
        "http://10.20.0.1/",
        "https://10.20.0.1:8443/",
        "http://0x0a140001/",
        "http://[fd12::1]/",
        "https://8.8.8.8/",
        "https://hooks.example.com/",
    ] {
        assert!(policy.check(url).is_ok(), "{url}");
    }
    for (url, kind) in [
        ("http://10.21.0.1/", Scheme),
        ("https://10.21.0.1/", Address),
        ("http://8.8.8.8/", Scheme),
        ("http://hooks.example.com/", Scheme),
        ("https://a.internal/", LocalName),
        ("http://[::ffff:10.20.0.1]/", Scheme),
    ] {
        assert_eq!(refused(&policy, url), kind, "{url}");
    }
    assert!(policy.permits_for("hooks.example.com", addr("10.20.0.1")));
    assert!(policy.permits(addr("10.20.0.1")));
    assert!(!policy.permits(addr("10.21.0.1")));
}

#[test]
fn the_rules_for_ports_stay() {
    let policy = permitting("*.internal")
        .with_permitted_network("10.20.0.0/16")
        .unwrap();
    for host in ["a.internal", "10.20.0.1"] {
        for port in [22, 81, 6000] {
            assert_eq!(refused(&policy, &format!("http://{host}:{port}/")), Port);
        }
        let policy = policy.clone().with_allowed_port(81);
        assert!(policy.check(&format!("http://{host}:81/")).is_ok());
    }
}

#[test]
fn localhost_for_trying_out() {
    let policy = permitting("localhost");
    let endpoint = policy.check("http://localhost:3000/hook").unwrap();
    for text in ["127.0.0.1", "::1"] {
        assert!(policy.permits_for(endpoint.host(), addr(text)));
        assert!(!policy.permits_for("evil.example.com", addr(text)));
    }
    for (url, kind) in [
        ("http://127.0.0.1:3000/", Scheme),
        ("https://127.0.0.1:3000/", Address),
        ("https://a.localhost/", LocalName),
    ] {
        assert_eq!(refused(&policy, url), kind, "{url}");
    }
}

#[test]
fn permits_are_names_and_networks() {
    let public = EndpointPolicy::public;
    for host in [
        "",
        "*",
        "*.",
        "10.0.0.1",
        "[::1]",
        "a:80",
        "http://a.internal",
    ] {
        let error = public().with_permitted_host(host).unwrap_err();
        assert_eq!(error.kind(), InvalidHost, "{host}");
    }
    for network in ["", "10", "10.0.0.1/8", "a.internal"] {
        let error = public().with_permitted_network(network).unwrap_err();
        assert_eq!(error.kind(), InvalidNetwork, "{network}");
    }
}

/// Behind such a prefix is whatever the gateway reaches.
#[test]
fn a_nat64_prefix_of_ones_own_is_judged_by_what_it_carries() {
    let prefix = "2a00:1098:2c::/96";
    let carried = |v4: &str| addr(&format!("2a00:1098:2c::{v4}"));
    let policy = EndpointPolicy::public();
    assert!(policy.permits(carried("10.0.0.1")), "nobody knows");
    let policy = policy.with_nat64_prefix(prefix).unwrap();
    for v4 in ["10.0.0.1", "127.0.0.1", "169.254.169.254", "224.0.0.1"] {
        assert!(!policy.permits(carried(v4)), "{v4}");
        let url = format!("https://[{}]/", carried(v4));
        assert_eq!(refused(&policy, &url), Address);
    }
    assert!(policy.permits(carried("93.184.216.34")));
    assert!(policy.permits(addr("2a00:1098:2d::1")));
    assert!(!policy.permits(addr("64:ff9b::93.184.216.34")));

    let denied = policy.with_denied_network("93.184.216.0/24").unwrap();
    assert!(!denied.permits(carried("93.184.216.34")));

    let local = EndpointPolicy::public()
        .with_nat64_prefix("64:ff9b:1::/48")
        .unwrap();
    assert!(
        local.permits(addr("64:ff9b:1:5db8:d8:2200::")),
        "93.184.216.34"
    );
    assert!(!local.permits(addr("64:ff9b:1:a00:0:100::")), "10.0.0.1");

    for network in [
        "10.0.0.0/8",
        "2001:db8::/33",
        "2001:db8::1/96",
        "2001:db8::1",
        "x",
    ] {
        let error = EndpointPolicy::public()
            .with_nat64_prefix(network)
            .unwrap_err();
        assert_eq!(error.kind(), InvalidNetwork, "{network}");
    }
}
