//! What a proxy has to change in a message's headers.

use std::net::IpAddr;

use hyper::{
    HeaderMap,
    header::{CONNECTION, COOKIE, HOST, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE},
    http::uri::Authority,
};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Header lines of a call or an answer on HTTP/1. hyper has 100, which cookies and tracing fill up.
pub(crate) const HEADER_LINES: usize = 1000;

/// The same on HTTP/2, in bytes as it counts them. hyper has 16 KiB.
pub(crate) const HEADER_BYTES: u32 = 256 << 10;

/// These, and what `Connection` names, concern one connection only (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("http2-settings"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    for name in options(headers, &CONNECTION) {
        headers.remove(name);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// The protocol that a connection is to be upgraded to. Nobody grants `h2c` any more (RFC 9113),
/// and some clients always ask for it.
pub(crate) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let protocol = headers.get(UPGRADE)?;
    let asked = options(headers, &CONNECTION)
        .iter()
        .any(|option| option == "upgrade");
    (asked && !protocol.as_bytes().eq_ignore_ascii_case(b"h2c")).then(|| protocol.clone())
}

pub(crate) fn set_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

/// Otherwise hyper takes a GET or HEAD whose length is not known for one without a body.
pub(crate) fn set_chunked(headers: &mut HeaderMap) {
    headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
}

pub(crate) fn takes_trailers(headers: &HeaderMap) -> bool {
    options(headers, &TE)
        .iter()
        .any(|option| option == "trailers")
}

/// On HTTP/1 only `Connection` makes `TE` count, which HTTP/2 does not have.
pub(crate) fn set_takes_trailers(headers: &mut HeaderMap, http2: bool) {
    headers.insert(TE, HeaderValue::from_static("trailers"));
    if !http2 {
        headers.append(CONNECTION, HeaderValue::from_static("te"));
    }
}

pub(crate) fn set_host(headers: &mut HeaderMap, host: &Authority) {
    let host = HeaderValue::try_from(host.as_str()).expect("an authority is visible ASCII");
    headers.insert(HOST, host);
}

/// On HTTP/2 it is in `:authority`.
pub(crate) fn remove_host(headers: &mut HeaderMap) {
    headers.remove(HOST);
}

/// HTTP/2 may send each cookie on a line of its own, HTTP/1 may not (RFC 9113, 8.2.3).
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    let lines: Vec<_> = headers.get_all(COOKIE).iter().collect();
    if lines.len() < 2 {
        return;
    }
    let sensitive = lines.iter().any(|line| line.is_sensitive());
    let values: Vec<_> = lines.iter().map(|line| line.as_bytes()).collect();
    let joined = values.join(&b"; "[..]);
    let mut joined = HeaderValue::from_bytes(&joined).expect("made of header values");
    joined.set_sensitive(sensitive);
    headers.insert(COOKIE, joined);
}

pub(crate) fn add_forwarded(headers: &mut HeaderMap, peer: IpAddr) {
    let mut chain: Vec<u8> = Vec::new();
    for earlier in headers.get_all(X_FORWARDED_FOR) {
        chain.extend_from_slice(earlier.as_bytes());
        chain.extend_from_slice(b", ");
    }
    chain.extend_from_slice(peer.to_canonical().to_string().as_bytes());
    let chain = HeaderValue::from_bytes(&chain).expect("made of header values and an address");
    headers.insert(X_FORWARDED_FOR, chain);
    headers
        .entry(X_FORWARDED_PROTO)
        .or_insert(HeaderValue::from_static("http"));
}

/// The options of a list, lower-cased.
pub(crate) fn options(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let lines = headers.get_all(name).iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(|option| option.trim().to_ascii_lowercase())
        .collect()
}
