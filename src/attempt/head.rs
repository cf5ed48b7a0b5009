//! A second look at an answer that hyper refuses.
//!
//! The status decides, whatever stands beside it: a receiver that has done the work must not be
//! made to do it again because of a malformed header. How long the body is, and where it ends, is
//! of no interest here: the connection is not used again.

use std::{
    str,
    time::{Duration, SystemTime},
};

use http::StatusCode;

use super::answer::wished_delay;
use crate::event::Outcome;

/// What the bytes that a receiver has said amount to.
#[derive(Debug, PartialEq)]
pub(super) enum Head {
    /// A complete head with a final status.
    Complete(Outcome),
    /// The beginning of one.
    Partial,
    /// Not HTTP/1.
    Malformed,
}

impl Head {
    /// Reads the first head with a final status. Lines end with LF, with or without a CR before it.
    pub(super) fn read(mut said: &[u8], now: impl Fn() -> SystemTime) -> Self {
        loop {
            while let [b'\r' | b'\n', rest @ ..] = said {
                said = rest;
            }
            let Some((line, rest)) = split_line(said) else {
                return match begins_like_a_status_line(said) {
                    true => Self::Partial,
                    false => Self::Malformed,
                };
            };
            let Some(status) = status_of(line) else {
                return Self::Malformed;
            };
            let Some((retry_after, rest)) = read_headers(rest, &now) else {
                return Self::Partial;
            };
            if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
                said = rest;
                continue;
            }
            return Self::Complete(Outcome::answered(status, retry_after));
        }
    }
}

const VERSION: &[u8] = b"HTTP/1.";

fn begins_like_a_status_line(said: &[u8]) -> bool {
    let len = said.len().min(VERSION.len());
    said[..len] == VERSION[..len]
}

/// `HTTP/1.1 200`, and whatever follows after a space.
fn status_of(line: &[u8]) -> Option<StatusCode> {
    let (minor, rest) = line.strip_prefix(VERSION)?.split_first()?;
    let code = rest.trim_ascii_start();
    if !minor.is_ascii_digit() || code.len() == rest.len() {
        return None;
    }
    let (code, after) = code.split_at_checked(3)?;
    let ends = after.first().is_none_or(u8::is_ascii_whitespace);
    ends.then(|| StatusCode::from_bytes(code).ok())?
}

/// The wished delay and what follows the empty line; `None` where there is no empty line.
fn read_headers(
    mut rest: &[u8],
    now: impl Fn() -> SystemTime,
) -> Option<(Option<Duration>, &[u8])> {
    let mut retry_after = None;
    loop {
        let (line, after) = split_line(rest)?;
        rest = after;
        if line.is_empty() {
            return Some((retry_after, rest));
        }
        if let Some(colon) = line.iter().position(|&byte| byte == b':')
            && line[..colon]
                .trim_ascii()
                .eq_ignore_ascii_case(b"retry-after")
            && retry_after.is_none()
        {
            let value = str::from_utf8(&line[colon + 1..]).ok();
            retry_after = value.and_then(|value| wished_delay(value, &now));
        }
    }
}

fn split_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'\n', text)?;
    let line = &text[..end];
    Some((line.strip_suffix(b"\r").unwrap_or(line), &text[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(said: impl AsRef<[u8]>) -> Head {
        Head::read(said.as_ref(), || SystemTime::UNIX_EPOCH)
    }

    fn complete(status: u16) -> Head {
        let status = StatusCode::from_u16(status).unwrap();
        Head::Complete(Outcome::answered(status, None))
    }

    #[test]
    fn the_status_decides_whatever_stands_beside_it() {
        for (said, status) in [
            ("HTTP/1.1 200 OK\r\n\r\n", 200),
            ("HTTP/1.1 200\n\n", 200),
            ("HTTP/1.0  503 \t Busy\r\n\r\n", 503),
            ("\r\n\r\nHTTP/1.1 204 No Content\r\n\r\nrest", 204),
            (
                "HTTP/1.1 404 \u{1}\r\n: empty\r\n folded\r\na\0b\r\n\r\n",
                404,
            ),
            ("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\n", 200),
            ("HTTP/1.1 101 x\r\n\r\n", 101),
            (
                "HTTP/1.1 100\r\n\r\nHTTP/1.1 103 x\r\na: b\r\n\r\nHTTP/1.1 999 x\r\n\r\n",
                999,
            ),
        ] {
            assert_eq!(read(said), complete(status), "{said:?}");
            for end in 0..said.trim_end_matches("rest").len() {
                assert_eq!(read(&said[..end]), Head::Partial, "{:?}", &said[..end]);
            }
        }
    }

    #[test]
    fn what_has_no_status_is_no_answer() {
        for said in [
            "hello\r\n\r\n",
            "HTTP/1.1\r\n\r\n",
            "HTTP/1.1 \r\n\r\n",
            "HTTP/1.1 20\r\n\r\n",
            "HTTP/1.1 abc OK\r\n\r\n",
            "HTTP/1.1 099 Low\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1200 OK\r\n\r\n",
            "HTTP/1.x 200 OK\r\n\r\n",
            "HTTP/2 200 OK\r\n\r\n",
            "http/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n220 mail",
            "\0",
        ] {
            assert_eq!(read(said), Head::Malformed, "{said:?}");
        }
    }

    #[test]
    fn a_wish_to_wait_is_read() {
        let said = "HTTP/1.1 503 x\r\nRetry-After : 7\r\nretry-after: 9\r\n\r\n";
        let wished = Outcome::answered(
            StatusCode::SERVICE_UNAVAILABLE,
            Some(Duration::from_secs(7)),
        );
        assert_eq!(read(said), Head::Complete(wished));
    }
}
