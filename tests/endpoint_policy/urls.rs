use tower_webhook::{EndpointPolicy, endpoint::EndpointErrorKind};

use super::{private, public};

#[test]
fn ordinary_endpoints_are_accepted() {
    for url in [
        "https://example.com",
        "https://example.com/hook?x=1#frag",
        "https://example.com?x=1",
        "HTTPS://EXAMPLE.COM/Hook",
        "http://example.com/",
        "https://example.com:443/",
        "https://example.com:80/",
        "https://example.com:8080/",
        "https://example.com:8443/",
        "https://example.com./",
        "https://example.com:/",
        "https://example.com:",
        "http://example.com.:?x",
        "https://a-b.c_d.example.co.uk/~x/%20?a[]=1&b={c}|d",
        "https://hooks.example.com/in?next=http://127.0.0.1/@x",
        "https://example.com/a//b/../c;d=@e:f",
        "https://example.com/#@127.0.0.1",
        "https://8.8.8.8/",
        "https://1.1.1.1:8443/dns",
        "https://[2606:4700:4700::1111]/",
        "https://[2606:4700:4700:0:0:0:0:1111]:8443/x",
        "https://bücher.example/",
        "https://例え.テスト/パス?q=値",
        "https://xn--bcher-kva.example/",
        "https://127.0.0.1.example.com/",
        "https://localhost.example.com/",
        "https://1password.com/",
        "https://3.4.example/",
    ] {
        if let Err(error) = public().check(url) {
            panic!("{url}: {error}");
        }
    }
}

#[test]
fn every_spelling_of_an_address_is_that_address() {
    for host in [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "127.0.0.1.",
        "0",
        "0x0",
        "0.0.0.0",
        "2130706433",
        "017700000001",
        "0x7f000001",
        "0x7f.1",
        "0X7F.0x0.0x0.0x1",
        "0177.0.0.01",
        "0000000177.0.0.1",
        "%31%32%37.0.0.1",
        "127%2E0%2E0%2E1",
        "127。0。0。1",
        "①②⑦.⓪.⓪.①",
        "１２７.０.０.１",
        "0xa9fea9fe",
        "2852039166",
        "169.254.43518",
        "0251.0376.0251.0376",
        "169.254.169.254",
        "100.100.100.200",
        "168.63.129.16",
        "192.168.0.1",
        "10.1",
        "[::]",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:FFFF:A9FE:A9FE]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "[fec0::1]",
    ] {
        let error = public().check(&format!("http://{host}/")).unwrap_err();
        assert_eq!(error.kind(), EndpointErrorKind::Address, "{host}");
    }
}

#[test]
fn local_names_are_refused_in_every_spelling() {
    use EndpointErrorKind::{LocalName, SingleLabel};
    for (host, kind) in [
        ("localhost", LocalName),
        ("LOCALHOST", LocalName),
        ("localhost.", LocalName),
        ("loc%61lhost", LocalName),
        ("ⓛocalhost", LocalName),
        ("ｌｏｃａｌｈｏｓｔ", LocalName),
        ("lo\u{ad}calhost", LocalName),
        ("a.localhost", LocalName),
        ("localhost.localdomain", LocalName),
        ("printer.local", LocalName),
        ("metadata.google.internal", LocalName),
        ("Metadata.Google.Internal.", LocalName),
        ("metadata。google。internal", LocalName),
        ("vault.service.internal", LocalName),
        ("router.home.arpa", LocalName),
        ("kubernetes.default.svc", LocalName),
        ("kubernetes.default.svc.cluster.local", LocalName),
        ("abc.onion", LocalName),
        ("metadata", SingleLabel),
        ("ip6-localhost", SingleLabel),
        ("intranet.", SingleLabel),
    ] {
        let error = public().check(&format!("https://{host}/")).unwrap_err();
        assert_eq!(error.kind(), kind, "{host}");
        assert!(private().check(&format!("https://{host}/")).is_ok());
    }
}

#[test]
fn private_networks_hold_all_hosts_but_nothing_else() {
    for url in [
        "https://localhost:22/",
        "https://metadata/",
        "https://10.0.0.1:1/",
        "https://[::1]:6000/",
        "https://[fe80::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[64:ff9b::a00:1]/",
    ] {
        assert!(private().check(url).is_ok(), "{url}");
    }
    for url in [
        "http://localhost/",
        "https://localhost:0/",
        "https://0.0.0.0/",
        "https://0/",
        "https://[::]/",
        "https://[::ffff:0.0.0.0]/",
        "https://[::ffff:224.0.0.1]/",
        "https://224.0.0.1/",
        "https://255.255.255.255/",
        "https://[ff02::1]/",
        "https://a..b/",
        "https://user@localhost/",
    ] {
        assert!(private().check(url).is_err(), "{url}");
    }
}

#[test]
fn an_error_shows_nothing_of_the_url() {
    for url in [
        "https://s3cret@example.com/s3cret",
        "https://169.254.169.254/s3cret",
        "https://s3cret.internal/",
        "https://s3cret/",
        "https://s3cret.example:22/",
        "gopher://s3cret.example/",
        "https://s3cret..example/",
    ] {
        let error = EndpointPolicy::public().check(url).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(
            !shown.contains("s3cret") && !shown.contains("169"),
            "{shown}"
        );
    }
}
