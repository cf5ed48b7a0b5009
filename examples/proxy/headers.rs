//! What a proxy has to change in a message's headers.

use std::net::IpAddr;

use hyper::{
    HeaderMap,
    header::{CONNECTION, HOST, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE},
};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

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

/// On HTTP/2 the service's own name is in `:authority`, which must not differ from `Host`.
pub(crate) fn set_host(headers: &mut HeaderMap, host: Option<HeaderValue>, http2: bool) {
    match host {
        Some(host) if !http2 => headers.insert(HOST, host),
        _ => headers.remove(HOST),
    };
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
fn options(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let lines = headers.get_all(name).iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(|option| option.trim().to_ascii_lowercase())
        .collect()
}
