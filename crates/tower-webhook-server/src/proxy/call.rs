//! Whether a call is one: what hyper lets through and a proxy must not (RFC 9110, RFC 9112).

use hyper::{
    Method, Request, StatusCode, Version,
    header::{HOST, HeaderValue, TRANSFER_ENCODING},
    http::uri::Authority,
};

use super::headers::options;

/// Why a call is refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) text: &'static str,
}

const fn bad(text: &'static str) -> Refusal {
    let status = StatusCode::BAD_REQUEST;
    Refusal { status, text }
}

/// Refuses what is no call. `ambiguous` says that a length stood beside chunks.
pub(crate) fn check<B>(request: &Request<B>, ambiguous: bool) -> Result<(), Refusal> {
    if ambiguous {
        return Err(bad("Content-Length beside Transfer-Encoding\n"));
    }
    let codings = options(request.headers(), &TRANSFER_ENCODING);
    if codings.iter().any(|coding| coding != "chunked") {
        let status = StatusCode::NOT_IMPLEMENTED;
        let text = "only chunked is known as Transfer-Encoding\n";
        return Err(Refusal { status, text });
    }
    if codings.len() > 1 {
        return Err(bad("chunked more than once\n"));
    }
    if request.uri().path() == "*" && request.method() != Method::OPTIONS {
        return Err(bad("* is for OPTIONS\n"));
    }
    authority(request).map(drop)
}

/// Whom the call is for; only old callers may leave that open.
pub(crate) fn authority<B>(request: &Request<B>) -> Result<Option<Authority>, Refusal> {
    let mut lines = request.headers().get_all(HOST).iter();
    let host = lines.next().map(host).transpose()?;
    if lines.next().is_some() {
        return Err(bad("more than one Host\n"));
    }
    let target = request.uri();
    if target.authority().is_some_and(|target| !is_plain(target)) {
        return Err(bad("the target's host is malformed\n"));
    }
    if target.scheme().is_none()
        && target.authority().is_some()
        && request.method() != Method::CONNECT
    {
        return Err(bad("the target must begin with a slash\n"));
    }
    match (target.authority(), host) {
        (Some(target), Some(host)) if !are_one(target, &host) => {
            Err(bad("Host differs from the target\n"))
        }
        (Some(target), _) => Ok(Some(target.clone())),
        (None, Some(host)) => Ok(Some(host)),
        (None, None) if request.version() <= Version::HTTP_10 => Ok(None),
        (None, None) => Err(bad("no Host\n")),
    }
}

fn host(value: &HeaderValue) -> Result<Authority, Refusal> {
    let host = Authority::try_from(value.as_bytes()).ok();
    host.filter(is_plain).ok_or(bad("Host is malformed\n"))
}

/// A host, and at most a port.
fn is_plain(authority: &Authority) -> bool {
    let host = authority.host();
    let port = authority.as_str().strip_prefix(host);
    let port = port.and_then(|rest| match rest.is_empty() {
        true => Some(""),
        false => rest.strip_prefix(':'),
    });
    let is_number = |port: &str| {
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        digits && (port.is_empty() || authority.port_u16().is_some())
    };
    !host.is_empty() && port.is_some_and(is_number)
}

fn are_one(one: &Authority, other: &Authority) -> bool {
    let port = |authority: &Authority| authority.port_u16().unwrap_or(80);
    one.host().eq_ignore_ascii_case(other.host()) && port(one) == port(other)
}
