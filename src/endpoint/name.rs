use url::Host;

use super::error::{EndpointError, EndpointErrorKind};

/// Names that mean something different in every network. Each covers itself and all names below it.
const LOCAL: [&str; 9] = [
    "localhost",
    "local",
    "localdomain",
    "internal",
    "home.arpa",
    "svc",
    "cluster.local",
    "onion",
    "metadata.goog",
];

/// A host name of a policy's lists: exactly one name, or all names below one.
#[derive(Clone, Debug)]
pub(super) struct HostPattern {
    name: Box<str>,
    below: bool,
}

impl HostPattern {
    /// Parses `example.com` or `*.example.com`, in any spelling that a URL allows.
    pub(super) fn parse(pattern: &str) -> Result<Self, EndpointError> {
        const INVALID: EndpointError = EndpointError::new(EndpointErrorKind::InvalidHost);

        let (name, below) = match pattern.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (pattern, false),
        };
        let Ok(Host::Domain(name)) = Host::parse(name) else {
            return Err(INVALID);
        };
        let name = without_trailing_dot(&name);
        if !is_well_formed(name) {
            return Err(INVALID);
        }
        Ok(Self {
            name: name.into(),
            below,
        })
    }

    pub(super) fn matches(&self, host: &str) -> bool {
        if self.below {
            is_below(host, &self.name)
        } else {
            host.eq_ignore_ascii_case(&self.name)
        }
    }
}

/// A name with the trailing dot of its absolute form is the same name without it.
pub(super) fn without_trailing_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// Whether a name can be resolved and can appear in a certificate: at most 253 bytes; labels of 1
/// to 63 letters, digits, `-` and `_` that neither begin nor end with `-`; the last label is not a
/// number, because resolvers read such a name as an address.
pub(super) fn is_well_formed(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_label) && !ends_in_number(name)
}

pub(super) fn is_single_label(name: &str) -> bool {
    !name.contains('.')
}

/// Whether a name is for local use: reserved by an RFC, treated so by resolvers and clusters, or a
/// cloud's metadata service.
pub(super) fn is_local(name: &str) -> bool {
    LOCAL
        .iter()
        .any(|local| name.eq_ignore_ascii_case(local) || is_below(name, local))
}

fn is_label(label: &str) -> bool {
    matches!(label.len(), 1..=63)
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn ends_in_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name).as_bytes();
    match last {
        [b'0', b'x' | b'X', digits @ ..] => digits.iter().all(u8::is_ascii_hexdigit),
        digits => digits.iter().all(u8::is_ascii_digit),
    }
}

fn is_below(name: &str, parent: &str) -> bool {
    let (name, parent) = (name.as_bytes(), parent.as_bytes());
    name.len() > parent.len() + 1
        && name[name.len() - parent.len() - 1] == b'.'
        && name[name.len() - parent.len()..].eq_ignore_ascii_case(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_well_formed() {
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", &label[..61]);
        for name in [
            "example.com",
            "a",
            "_dmarc.x_y.example",
            "3.4.com",
            "xn--bcher-kva.example",
            &longest,
        ] {
            assert!(is_well_formed(name), "{name}");
        }
        let long_label = format!("{label}a.com");
        let too_long = format!("{longest}a");
        for name in [
            "",
            ".",
            "a..b",
            ".a",
            "a.",
            "-a.com",
            "a-.com",
            "a.b-",
            "a b",
            "a!b.com",
            "*.com",
            "é.com",
            "1",
            "a.1",
            "a.0x7f",
            "a.0x",
            "a.0XAB",
            &long_label,
            &too_long,
        ] {
            assert!(!is_well_formed(name), "{name}");
        }
    }

    #[test]
    fn local_names_end_at_a_label() {
        for name in [
            "localhost",
            "LOCALHOST",
            "a.Localhost",
            "printer.local",
            "a.b.internal",
            "x.svc",
            "home.arpa",
            "a.home.arpa",
            "x.cluster.local",
            "a.onion",
            "localhost.localdomain",
            "metadata.google.internal",
            "metadata.goog",
        ] {
            assert!(is_local(name), "{name}");
        }
        for name in [
            "notlocalhost",
            "localhost.com",
            "example.com",
            "mylocal",
            "internal.com",
            "arpa",
            "goog",
            "svc.example",
        ] {
            assert!(!is_local(name), "{name}");
        }
    }

    #[test]
    fn patterns_match_whole_labels() {
        let exact = HostPattern::parse("Example.COM.").unwrap();
        assert!(exact.matches("example.com"));
        assert!(!exact.matches("a.example.com"));
        assert!(!exact.matches("badexample.com"));

        let below = HostPattern::parse("*.bücher.example").unwrap();
        assert!(below.matches("a.xn--bcher-kva.example"));
        assert!(below.matches("a.b.xn--bcher-kva.example"));
        assert!(!below.matches("xn--bcher-kva.example"));
        assert!(!below.matches("a.xn--bcher-kva.example.com"));
    }

    #[test]
    fn patterns_are_names() {
        for pattern in [
            "",
            "*",
            "*.",
            "*.*.com",
            "a.*",
            ".com",
            "10.0.0.1",
            "*.0x7f.1",
            "[::1]",
            "a:80",
            "https://a.b",
            "a/b",
            "a b",
        ] {
            let error = HostPattern::parse(pattern).unwrap_err();
            assert_eq!(error.kind(), EndpointErrorKind::InvalidHost, "{pattern}");
        }
    }
}
