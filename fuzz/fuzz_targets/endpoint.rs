//! What `EndpointPolicy::check` accepts is what it says it is, and what it permits.

#![no_main]

use std::{net::IpAddr, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use tower_webhook::{EndpointPolicy, endpoint::Endpoint};
use url::Url;

static POLICIES: LazyLock<[EndpointPolicy; 5]> = LazyLock::new(|| {
    let public = EndpointPolicy::public();
    let denied = public.clone().with_denied_host("example.com").unwrap();
    let permitted = public.clone().with_permitted_host("*.internal").unwrap();
    let listed = public.clone().with_allowed_host("*.example.com").unwrap();
    [
        denied.with_insecure_http(),
        listed.with_allowed_network("10.0.0.0/8").unwrap(),
        public.clone().with_insecure_private_networks(),
        public.with_insecure_http().with_nat64(),
        permitted.with_permitted_network("10.0.0.0/8").unwrap(),
    ]
});

fuzz_target!(|text: &str| {
    for policy in POLICIES.iter() {
        let _ = policy.permits_host(text);
        if let Ok(endpoint) = policy.check(text) {
            agrees(text, policy, &endpoint);
        }
    }
    if let Ok(endpoint) = POLICIES[0].check(text) {
        assert_ne!(endpoint.host(), "example.com");
    }
    if let Ok(endpoint) = POLICIES[4].check(text) {
        let host = endpoint.host();
        assert!(endpoint.is_https() || host.ends_with(".internal") || host.starts_with("10."));
    }
    if let Ok(endpoint) = POLICIES[1].check(text) {
        assert!(endpoint.is_https());
        assert!(endpoint.host().ends_with(".example.com") || endpoint.host().starts_with("10."));
    }
});

fn agrees(text: &str, policy: &EndpointPolicy, endpoint: &Endpoint) {
    let host = endpoint.host();
    assert!(policy.permits_host(host));
    if let Ok(address) = host.parse::<IpAddr>() {
        assert!(policy.permits(address));
    }

    let uri = endpoint.uri();
    let default = if endpoint.is_https() { 443 } else { 80 };
    assert_eq!(uri.host().unwrap().trim_matches(['[', ']']), host);
    assert_eq!(uri.port_u16().unwrap_or(default), endpoint.port());
    assert_eq!(uri.scheme_str() == Some("https"), endpoint.is_https());
    assert!(!uri.authority().unwrap().as_str().contains('@'));
    assert!(!host.ends_with('.') && !host.is_empty());

    let url = endpoint.to_url_string();
    assert!(url.len() <= 2048 && !url.contains('#'));
    let again = policy.check(&url).unwrap();
    assert_eq!(again.uri(), uri);

    let browser = Url::parse(text).unwrap();
    let seen = browser.host_str().unwrap().trim_matches(['[', ']']);
    assert_eq!(seen.strip_suffix('.').unwrap_or(seen), host);
    assert_eq!(browser.port_or_known_default(), Some(endpoint.port()));
    assert_eq!(browser.path(), uri.path());
    assert_eq!(browser.query(), uri.query());
}
