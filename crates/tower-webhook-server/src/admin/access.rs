use std::{fs, net::IpAddr, path::Path, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::{Request, header::AUTHORIZATION, http::uri::Authority};
use subtle::ConstantTimeEq as _;

/// Who may open the page.
#[derive(Clone)]
pub(super) struct Gate(Option<Arc<[u8]>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Open,
    NoToken,
    /// The name of somebody else's: a page of theirs may have sent the browser here.
    OtherHost,
}

/// Fewer characters can be guessed.
const SHORTEST: usize = 16;

impl Gate {
    pub(super) fn new(file: Option<&Path>) -> Result<Self, String> {
        let Some(file) = file else {
            return Ok(Self(None));
        };
        let complain = |what: &str| format!("--admin-token-file {}: {what}", file.display());
        let text = fs::read_to_string(file).map_err(|error| complain(&error.to_string()))?;
        let token = text.trim();
        if token.len() < SHORTEST || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(complain("must be 16 visible characters or more"));
        }
        Ok(Self(Some(token.as_bytes().into())))
    }

    pub(super) fn has_token(&self) -> bool {
        self.0.is_some()
    }

    pub(super) fn judge<B>(&self, request: &Request<B>) -> Verdict {
        let Some(token) = &self.0 else {
            // A name can be made to lead to loopback (DNS rebinding); an address and `localhost` cannot.
            return match host_is_ours(request) {
                true => Verdict::Open,
                false => Verdict::OtherHost,
            };
        };
        let brought = brought(request).unwrap_or_default();
        match bool::from(brought.ct_eq(token)) {
            true => Verdict::Open,
            false => Verdict::NoToken,
        }
    }
}

/// The token as `Bearer`, or as the password of `Basic`.
fn brought<B>(request: &Request<B>) -> Option<Vec<u8>> {
    let value = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().as_bytes().to_vec());
    }
    let pair = scheme
        .eq_ignore_ascii_case("basic")
        .then(|| STANDARD.decode(rest.trim()))?;
    let pair = pair.ok()?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    Some(pair[colon + 1..].to_vec())
}

fn host_is_ours<B>(request: &Request<B>) -> bool {
    let of_header = || {
        let host = request.headers().get("host")?;
        Authority::try_from(host.as_bytes()).ok()
    };
    let authority = request.uri().authority().cloned().or_else(of_header);
    authority.is_some_and(|authority| {
        let host = authority.host();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(name: &str, value: &str) -> Request<()> {
        Request::get("/").header(name, value).body(()).unwrap()
    }

    #[test]
    fn without_a_token_no_name_of_others_leads_here() {
        let gate = Gate(None);
        for host in ["127.0.0.1:9000", "localhost", "LocalHost:1", "[::1]:9000"] {
            assert_eq!(gate.judge(&asking("host", host)), Verdict::Open, "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example:9000",
            "127.0.0.1.evil.example",
            "",
        ] {
            assert_eq!(
                gate.judge(&asking("host", host)),
                Verdict::OtherHost,
                "{host}"
            );
        }
    }

    #[test]
    fn the_token_opens_and_nothing_else_does() {
        let gate = Gate(Some(b"a-token-of-some-length"[..].into()));
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        for value in [
            "Bearer a-token-of-some-length".to_owned(),
            "bearer  a-token-of-some-length".to_owned(),
            basic("anybody:a-token-of-some-length"),
            basic(":a-token-of-some-length"),
        ] {
            let request = asking("authorization", &value);
            assert_eq!(gate.judge(&request), Verdict::Open, "{value}");
        }
        for value in [
            "Bearer a-token-of-some-lengt".to_owned(),
            "Bearer ".to_owned(),
            "a-token-of-some-length".to_owned(),
            basic("a-token-of-some-length"),
            basic("a-token-of-some-length:"),
            "Basic ????".to_owned(),
        ] {
            let request = asking("authorization", &value);
            assert_eq!(gate.judge(&request), Verdict::NoToken, "{value}");
        }
    }
}
