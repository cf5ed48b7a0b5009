//! Whether a call wants no more than a receipt at once (RFC 7240).

use std::time::Duration;

use http::{HeaderMap, HeaderName};

use super::parameter::{Occurrence, Parameter};

pub(crate) static PREFER: HeaderName = HeaderName::from_static("prefer");

/// How long a call waits for its response before a 202 takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Promise {
    /// Zero: not at all.
    pub(crate) wait: Duration,
    /// Whether it was a preference, which an answer says that it has applied.
    pub(crate) is_preferred: bool,
}

/// Reads how a call asks for a 202.
#[derive(Clone, Debug)]
pub(crate) struct PromiseReader {
    parameter: Parameter,
    pub(crate) longest_wait: Duration,
}

impl PromiseReader {
    pub(crate) fn new(longest_wait: Duration) -> Self {
        Self {
            parameter: Parameter::new("async"),
            longest_wait,
        }
    }

    pub(super) fn parameter(&self) -> &Parameter {
        &self.parameter
    }

    /// `None` where the call waits for its response, however long that takes.
    pub(crate) fn read(&self, query: &str, headers: &HeaderMap) -> Option<Promise> {
        let preferred = Preferences::read(headers);
        if self.parameter.given_in(query) == Occurrence::Once(b"true") {
            return Some(Promise {
                wait: Duration::ZERO,
                is_preferred: preferred.respond_async,
            });
        }
        let wait = preferred.wait.unwrap_or_default();
        preferred.respond_async.then_some(Promise {
            wait: Duration::from_secs(wait).min(self.longest_wait),
            is_preferred: true,
        })
    }
}

/// Of all preferences, those that mean something here.
#[derive(Debug, Default, PartialEq, Eq)]
struct Preferences {
    respond_async: bool,
    /// In seconds.
    wait: Option<u64>,
    has_wait: bool,
}

impl Preferences {
    fn read(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        for line in headers.get_all(&PREFER) {
            for preference in split(line.as_bytes(), b',') {
                // Its parameters mean nothing here.
                let Some(preference) = split(preference, b';').next() else {
                    continue;
                };
                found.add(preference);
            }
        }
        found
    }

    /// The first one of a name counts.
    fn add(&mut self, preference: &[u8]) {
        let mut parts = preference.splitn(2, |&byte| byte == b'=');
        let name = parts.next().unwrap_or_default().trim_ascii();
        let value = parts.next().map(|value| unquoted(value.trim_ascii()));
        if name.eq_ignore_ascii_case(b"respond-async") {
            self.respond_async = true;
        } else if name.eq_ignore_ascii_case(b"wait") && !self.has_wait {
            self.has_wait = true;
            self.wait = value.and_then(seconds);
        }
    }
}

/// At each separator that is not quoted.
fn split(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |&byte| {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            _ => return byte == separator && !is_quoted,
        }
        false
    })
}

fn unquoted(value: &[u8]) -> &[u8] {
    let inner = value.strip_prefix(b"\"");
    let inner = inner.and_then(|value| value.strip_suffix(b"\""));
    inner.unwrap_or(value)
}

/// More than can be counted is a long time.
fn seconds(digits: &[u8]) -> Option<u64> {
    let are_digits = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let text = str::from_utf8(digits).ok().filter(|_| are_digits)?;
    Some(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(query: &str, lines: &[&str]) -> Option<(u64, bool)> {
        let lines = lines
            .iter()
            .map(|line| (PREFER.clone(), HeaderValue::from_str(line).unwrap()));
        let reader = PromiseReader::new(Duration::from_secs(60));
        let promise = reader.read(query, &lines.collect())?;
        Some((promise.wait.as_secs(), promise.is_preferred))
    }

    #[test]
    fn a_parameter_or_a_preference_asks_for_a_receipt() {
        assert_eq!(read("a=1&async=true", &[]), Some((0, false)));
        assert_eq!(read("", &["respond-async"]), Some((0, true)));
        assert_eq!(read("async=true", &["respond-async"]), Some((0, true)));
        assert_eq!(read("", &["respond-async, wait=10"]), Some((10, true)));
        // At once, whatever else is said.
        assert_eq!(
            read("async=true", &["respond-async, wait=10"]),
            Some((0, true))
        );
    }

    #[test]
    fn anything_else_waits_for_its_response() {
        for query in [
            "",
            "async",
            "async=",
            "async=false",
            "async=1",
            "a=async=true",
        ] {
            assert_eq!(read(query, &[]), None, "{query}");
        }
        assert_eq!(read("async=true&async=true", &[]), None);
        for line in [
            "wait=10",
            "return=minimal",
            "respond-asynchronous",
            "",
            ",;,",
        ] {
            assert_eq!(read("", &[line]), None, "{line}");
        }
        let quoted = r#"note="a, respond-async", handling=lenient"#;
        assert_eq!(read("", &[quoted]), None);
    }

    #[test]
    fn preferences_are_read_as_the_rfc_has_them() {
        for (lines, wait) in [
            (&["Respond-Async; a=b , WAIT = 7"][..], 7),
            (&["handling=lenient", "wait=\"8\"", "respond-async"], 8),
            (&["respond-async=\"\", wait=5, wait=9"], 5),
            (&[r#"x="a\", wait=3", respond-async, wait=4"#], 4),
            (&["respond-async, wait=61"], 60),
            (&["respond-async, wait=99999999999999999999999"], 60),
            (&["respond-async, wait=0"], 0),
            (&["respond-async, wait"], 0),
            (&["respond-async, wait=-1"], 0),
            (&["respond-async, wait=1.5"], 0),
            (&["respond-async, wait=x, wait=5"], 0),
        ] {
            assert_eq!(read("", lines), Some((wait, true)), "{lines:?}");
        }
    }
}
