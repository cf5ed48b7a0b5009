//! Headers and a body from text, as HTTP/1 writes them.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The first line, what reads as a header in the lines up to an empty one, and the rest.
pub(crate) fn read(input: &[u8]) -> (&[u8], HeaderMap, &[u8]) {
    let (first, mut rest) = line(input);
    let mut headers = HeaderMap::new();
    while !rest.is_empty() {
        let (header, more) = line(rest);
        rest = more;
        if header.is_empty() {
            break;
        }
        let mut parts = header.splitn(2, |&byte| byte == b':');
        let name = HeaderName::from_bytes(parts.next().unwrap_or_default());
        let value = parts.next().unwrap_or_default();
        let value = HeaderValue::from_bytes(value.strip_prefix(b" ").unwrap_or(value));
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    (first, headers, rest)
}

fn line(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|&byte| byte == b'\n') {
        Some(end) => (&text[..end], &text[end + 1..]),
        None => (text, &[]),
    }
}
