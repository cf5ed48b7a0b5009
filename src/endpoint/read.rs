//! Parses the caller's text into an [`Endpoint`]: it is parsed once, and the URI is built from the
//! result.
//!
//! `http::Uri` never interprets the text. It accepts the host of `http://[::1]evil.com/` and drops
//! a port that is out of range, so two parsers could see two endpoints in one text.

use std::sync::Arc;

use http::{HeaderValue, Uri};
use url::{Host, ParseError, Position, Url};

use super::{
    Endpoint, Inner, Origin,
    error::{EndpointError, EndpointErrorKind},
    name,
};

const MAX_LEN: usize = 2048;

/// `http` says whether an `http` URL may be acceptable.
pub(super) fn read(text: &str, http: bool) -> Result<Endpoint, EndpointError> {
    judge_text(text, http).map_err(EndpointError::new)?;
    let url = Url::parse(text).map_err(|error| {
        EndpointError::new(match error {
            ParseError::InvalidPort => EndpointErrorKind::Port,
            _ => EndpointErrorKind::Malformed,
        })
    })?;
    build(&url).map_err(EndpointError::new)
}

/// Refuses what the URL parser would tolerate: it strips tabs and line breaks, reads `\` as `/`,
/// and accepts any number of slashes after the scheme, even none.
fn judge_text(text: &str, http: bool) -> Result<(), EndpointErrorKind> {
    if text.len() > MAX_LEN {
        return Err(EndpointErrorKind::TooLong);
    }
    if text
        .bytes()
        .any(|byte| matches!(byte, 0..=b' ' | 0x7f | b'\\'))
    {
        return Err(EndpointErrorKind::Character);
    }
    let rest = match without_scheme(text, "https://") {
        Some(rest) => rest,
        None => without_scheme(text, "http://")
            .filter(|_| http)
            .ok_or_else(|| match has_scheme(text) {
                true => EndpointErrorKind::Scheme,
                false => EndpointErrorKind::NoScheme,
            })?,
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    if authority.is_empty() {
        return Err(EndpointErrorKind::Malformed);
    }
    if authority.contains('@') {
        return Err(EndpointErrorKind::UserInfo);
    }
    let after_address = authority.rfind(']').map_or(0, |end| end + 1);
    match authority[after_address..].split_once(':') {
        Some((_, port)) if !port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err(EndpointErrorKind::Port)
        }
        _ => Ok(()),
    }
}

fn without_scheme<'a>(text: &'a str, scheme: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(scheme.len())?;
    start.eq_ignore_ascii_case(scheme).then_some(rest)
}

/// Whether a text begins with a scheme, and not with a host and its port.
fn has_scheme(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-'));
    let port = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    is_scheme && !is_port
}

fn build(url: &Url) -> Result<Endpoint, EndpointErrorKind> {
    let (Some(host), Some(dialled), Some(port)) =
        (url.host(), url.host_str(), url.port_or_known_default())
    else {
        return Err(EndpointErrorKind::Malformed);
    };
    let dialled = name::without_trailing_dot(dialled);
    let (host, address) = match host {
        Host::Domain(_) if !name::is_well_formed(dialled) => {
            return Err(EndpointErrorKind::Malformed);
        }
        Host::Domain(_) => (dialled, None),
        Host::Ipv4(address) => (dialled, Some(address.into())),
        Host::Ipv6(address) => (dialled.trim_matches(['[', ']']), Some(address.into())),
    };

    let scheme = &url[..Position::BeforeHost];
    let rest = &url[Position::AfterHost..Position::AfterQuery];
    let mut text = String::with_capacity(scheme.len() + dialled.len() + rest.len());
    text.push_str(scheme);
    text.push_str(dialled);
    text.push_str(rest);
    if text.len() > MAX_LEN {
        return Err(EndpointErrorKind::TooLong);
    }
    let uri = Uri::try_from(text).map_err(|_| EndpointErrorKind::Malformed)?;

    let https = url.scheme() == "https";
    let uri_port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
    if uri.scheme_str() != Some(url.scheme()) || uri.host() != Some(dialled) || uri_port != port {
        return Err(EndpointErrorKind::Malformed);
    }
    let (Some(authority), Some(target)) = (uri.authority(), uri.path_and_query()) else {
        return Err(EndpointErrorKind::Malformed);
    };
    let host_header =
        HeaderValue::from_str(authority.as_str()).map_err(|_| EndpointErrorKind::Malformed)?;
    Ok(Endpoint {
        inner: Arc::new(Inner {
            origin_form: target.clone().into(),
            host_header,
            uri,
            origin: Origin {
                host: host.into(),
                port,
                https,
            },
            address,
            permitted_by: None,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> EndpointErrorKind {
        read(text, true).unwrap_err().kind()
    }

    #[test]
    fn the_text_is_judged_before_it_is_parsed() {
        use EndpointErrorKind::*;
        let cases = [
            ("", NoScheme),
            ("example.com", NoScheme),
            ("example.com/hook", NoScheme),
            ("example.com/hook?u=https://a.example", NoScheme),
            ("example.com:8443/hook", NoScheme),
            ("example.com:/hook", NoScheme),
            ("localhost", NoScheme),
            ("localhost:3000", NoScheme),
            ("127.0.0.1:3000/hook", NoScheme),
            ("[::1]:3000/hook", NoScheme),
            ("//example.com", NoScheme),
            ("/hook", NoScheme),
            ("://example.com", NoScheme),
            ("https", NoScheme),
            ("https//example.com", NoScheme),
            ("htps://example.com", Scheme),
            ("ftp://example.com:21/", Scheme),
            ("mailto:a@example.com", Scheme),
            ("javascript:alert(1)", Scheme),
            ("data:,x", Scheme),
            ("h2c+x://example.com", Scheme),
            ("https:example.com", Scheme),
            ("https:/example.com", Scheme),
            ("https:///example.com", Malformed),
            ("https://", Malformed),
            ("https://?x", Malformed),
            ("file:///etc/passwd", Scheme),
            (" https://example.com", Character),
            ("https://example.com/\n", Character),
            ("https://exam\tple.com", Character),
            ("https://example.com/\u{7f}", Character),
            ("https://example.com\\@evil.example", Character),
            ("https://@example.com", UserInfo),
            ("https://user:pass@example.com:443/", UserInfo),
            ("https://:", Malformed),
            ("https://:/", Malformed),
            ("https://:443/", Malformed),
            ("https://example.com::", Port),
            ("https://[::1]x:", Malformed),
            ("https://example.com:80a", Port),
            ("https://example.com:-1", Port),
            ("https://example.com:+443", Port),
            ("https://example.com:65536", Port),
            ("https://example.com:443:443", Port),
            ("https://[::1]:x", Port),
            ("https://[::1]evil.com/", Malformed),
            ("https://[127.0.0.1]/", Malformed),
            ("https://[::1", Port),
            ("https://[fe80::1%25eth0]/", Malformed),
            ("https://::1/", Port),
            ("https://example..com", Malformed),
            ("https://example.com../", Malformed),
            ("https://.example.com", Malformed),
            ("https://-a.example.com", Malformed),
            ("https://ex!ample.com", Malformed),
            ("https://example.com%00.evil.example", Malformed),
            ("https://a%40evil.example", Malformed),
            ("https://256.256.256.256", Malformed),
            ("https://example.0x", Malformed),
        ];
        for (text, expected) in cases {
            assert_eq!(kind(text), expected, "{text}");
        }
        let long = format!("https://example.com/{}", "a".repeat(2048));
        assert_eq!(kind(&long), TooLong);
        assert_eq!(
            read("http://example.com", false).unwrap_err().kind(),
            Scheme
        );
    }

    #[test]
    fn the_normal_form_has_the_same_limit() {
        let start = "https://example.com/";
        let fits = format!("{start}{}", "a".repeat(2048 - start.len()));
        assert_eq!(read(&fits, false).unwrap().to_url_string(), fits);
        assert_eq!(
            kind(&format!("{start}{}", "é".repeat(1000))),
            EndpointErrorKind::TooLong
        );
    }

    #[test]
    fn the_uri_is_what_was_judged() {
        let cases = [
            (
                "https://example.com",
                "https://example.com/",
                "example.com",
                443,
            ),
            (
                "HTTPS://EXAMPLE.com:443/A",
                "https://example.com/A",
                "example.com",
                443,
            ),
            // An empty port is the default one.
            (
                "https://example.com:",
                "https://example.com/",
                "example.com",
                443,
            ),
            (
                "https://example.com:/a:b",
                "https://example.com/a:b",
                "example.com",
                443,
            ),
            (
                "https://example.com.:?x",
                "https://example.com/?x",
                "example.com",
                443,
            ),
            (
                "http://example.com:#f",
                "http://example.com/",
                "example.com",
                80,
            ),
            ("https://[::1]:/", "https://[::1]/", "::1", 443),
            ("https://127.1:", "https://127.0.0.1/", "127.0.0.1", 443),
            (
                "https://example.com.:8443?x=1#f",
                "https://example.com:8443/?x=1",
                "example.com",
                8443,
            ),
            (
                "http://example.com:080/a/../b",
                "http://example.com/b",
                "example.com",
                80,
            ),
            (
                "https://bücher.example/ü",
                "https://xn--bcher-kva.example/%C3%BC",
                "xn--bcher-kva.example",
                443,
            ),
            (
                "https://ex%61mple。com/",
                "https://example.com/",
                "example.com",
                443,
            ),
            ("https://0x7f.1/", "https://127.0.0.1/", "127.0.0.1", 443),
            (
                "https://127.0.0.1./",
                "https://127.0.0.1/",
                "127.0.0.1",
                443,
            ),
            ("https://①②⑦.⓪.⓪.①/", "https://127.0.0.1/", "127.0.0.1", 443),
            (
                "https://[::FFFF:127.0.0.1]:8443/",
                "https://[::ffff:7f00:1]:8443/",
                "::ffff:7f00:1",
                8443,
            ),
            (
                "https://example.com/?u=https://a@b:c/",
                "https://example.com/?u=https://a@b:c/",
                "example.com",
                443,
            ),
        ];
        for (text, url, host, port) in cases {
            let endpoint = read(text, true).unwrap();
            assert_eq!(endpoint.to_url_string(), url);
            assert_eq!(endpoint.host(), host);
            assert_eq!(endpoint.port(), port);
            assert_eq!(endpoint.inner.address, host.parse().ok(), "{text}");
        }
    }
}
