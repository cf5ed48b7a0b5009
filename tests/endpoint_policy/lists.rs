use tower_webhook::{EndpointPolicy, endpoint::EndpointErrorKind};

use super::{addr, private};

#[test]
fn a_denied_host_stays_denied() {
    let policy = private()
        .with_denied_host("api.example.com")
        .and_then(|policy| policy.with_denied_host("*.corp.example"))
        .and_then(|policy| policy.with_allowed_host("*.example.com"))
        .and_then(|policy| policy.with_allowed_host("*.corp.example"))
        .unwrap();
    for host in [
        "api.example.com",
        "API.example.com.",
        "a.corp.example",
        "other.example",
    ] {
        let error = policy.check(&format!("https://{host}/")).unwrap_err();
        assert_eq!(error.kind(), EndpointErrorKind::Host, "{host}");
        assert!(!policy.permits_host(host), "{host}");
    }
    assert!(policy.check("https://www.example.com/").is_ok());
    assert!(policy.permits_host("WWW.example.com."));
}

#[test]
fn a_denied_network_stays_denied_however_it_is_carried() {
    let policy = private()
        .with_denied_network("169.254.0.0/16")
        .and_then(|policy| policy.with_allowed_network("169.254.169.254"))
        .and_then(|policy| policy.with_denied_network("2600:1f00::/24"))
        .unwrap()
        .with_nat64();
    assert!(!policy.permits(addr("169.254.169.254")));
    assert!(!policy.permits(addr("::ffff:169.254.169.254")));
    assert!(!policy.permits(addr("64:ff9b::169.254.169.254")));
    assert!(!policy.permits(addr("2002:a9fe:a9fe::1")));
    assert!(!policy.permits(addr("2600:1f00::1")));
    assert!(policy.permits(addr("10.0.0.1")));
}

#[test]
fn allowed_hosts_are_the_only_ones() {
    let policy = EndpointPolicy::public()
        .with_allowed_host("hooks.internal")
        .and_then(|policy| policy.with_allowed_host("*.example.com"))
        .and_then(|policy| policy.with_allowed_network("10.20.0.0/16"))
        .unwrap();
    for host in ["hooks.internal", "a.example.com", "10.20.0.1"] {
        assert!(policy.check(&format!("https://{host}/")).is_ok(), "{host}");
        assert!(policy.permits_host(host), "{host}");
    }
    for host in [
        "example.com",
        "x.hooks.internal",
        "other.example",
        "8.8.8.8",
        "[2606:4700::1]",
    ] {
        let error = policy.check(&format!("https://{host}/")).unwrap_err();
        assert_eq!(error.kind(), EndpointErrorKind::Host, "{host}");
        assert!(!policy.permits_host(host), "{host}");
    }
    assert!(!policy.permits(addr("10.21.0.1")));
    assert!(
        policy.permits(addr("8.8.8.8")),
        "an allowed name may have it"
    );
}

#[test]
fn an_allowed_network_widens_and_holds_hosts_only() {
    let policy = EndpointPolicy::public()
        .with_allowed_network("0.0.0.0/0")
        .and_then(|policy| policy.with_allowed_network("fd00::/8"))
        .unwrap();
    for text in ["10.0.0.1", "127.0.0.1", "fd00::1", "2606:4700::1"] {
        assert!(policy.permits(addr(text)), "{text}");
    }
    for text in [
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::ffff:10.0.0.1",
    ] {
        assert!(!policy.permits(addr(text)), "{text}");
    }
    let policy = EndpointPolicy::public()
        .with_allowed_network("::/0")
        .unwrap();
    assert!(policy.permits(addr("::ffff:8.8.8.8")));
    assert!(
        !policy.permits(addr("::ffff:10.0.0.1")),
        "carries what is not allowed"
    );
}

#[test]
fn networks_are_networks() {
    for network in [
        "",
        "10",
        "10.0.0.0/33",
        "10.0.0.1/8",
        "127.1",
        "fe80::1%1",
        "example.com",
        "10.0.0.0-10.0.0.9",
    ] {
        let error = EndpointPolicy::public()
            .with_denied_network(network)
            .unwrap_err();
        assert_eq!(error.kind(), EndpointErrorKind::InvalidNetwork, "{network}");
        assert!(
            EndpointPolicy::public()
                .with_allowed_network(network)
                .is_err()
        );
    }
}

#[test]
fn a_host_is_judged_with_or_without_brackets() {
    let policy = EndpointPolicy::public();
    for host in [
        "2606:4700::1",
        "[2606:4700::1]",
        "8.8.8.8",
        "example.com",
        "example.com.",
    ] {
        assert!(policy.permits_host(host), "{host}");
    }
    for host in [
        "",
        ".",
        "::1",
        "[::1]",
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "[8.8.8.8",
        "localhost",
        "a..b",
        "bücher.example",
    ] {
        assert!(!policy.permits_host(host), "{host}");
    }
}
