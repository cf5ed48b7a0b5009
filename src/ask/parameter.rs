use std::borrow::Cow;

use memchr::{memchr, memchr_iter, memchr2};
use percent_encoding::percent_decode;

/// How often something is given that should be given once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Occurrence<'a> {
    #[default]
    Never,
    Once(&'a [u8]),
    Again,
}

impl<'a> Occurrence<'a> {
    pub(super) fn add(&mut self, value: &'a [u8]) {
        *self = match self {
            Self::Never => Self::Once(value),
            Self::Once(_) | Self::Again => Self::Again,
        };
    }
}

/// A query's parameter. Its name is compared as servers read it, decoded.
#[derive(Clone, Debug)]
pub(crate) struct Parameter {
    name: Cow<'static, str>,
    /// The byte of the name that is the least likely in other names and values, as it is written.
    rarest: u8,
}

impl Parameter {
    pub(crate) fn new(name: impl Into<Cow<'static, str>>) -> Self {
        let name = name.into();
        let rarest = match rarest(name.as_bytes()) {
            b' ' => b'+',
            rarest => rarest,
        };
        Self { name, rarest }
    }

    #[cfg(feature = "openapi")]
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its value in a query, as it is written. Most queries have no such thing in them, and are told
    /// by one search.
    #[inline]
    pub(super) fn given_in<'a>(&self, query: &'a str) -> Occurrence<'a> {
        let query = query.as_bytes();
        match memchr2(self.rarest, b'%', query) {
            Some(_) => self.found_in(query),
            None => Occurrence::Never,
        }
    }

    fn found_in<'a>(&self, query: &'a [u8]) -> Occurrence<'a> {
        let mut given = Occurrence::Never;
        if self.may_begin_in(query) {
            for (name, value) in pairs(query) {
                if self.is_named(name) {
                    given.add(value);
                }
            }
        }
        given
    }

    /// Whether one of the names in a query begins as this one does; an encoded one can begin with a
    /// `%` or a `+`.
    fn may_begin_in(&self, query: &[u8]) -> bool {
        let Some(&first) = self.name.as_bytes().first() else {
            return false;
        };
        let likely = |at| matches!(query.get(at), Some(&b) if b == first || b == b'%' || b == b'+');
        likely(0) || memchr_iter(b'&', query).any(|end| likely(end + 1))
    }

    /// A query without it, all else as it is written; `None` where nothing else is in it.
    pub(super) fn taken_out_of(&self, query: &str) -> Option<String> {
        let others = query.split('&').filter(|pair| {
            let name = pair.split('=').next().unwrap_or_default();
            !self.is_named(name.as_bytes())
        });
        let others: Vec<&str> = others.collect();
        (!others.is_empty()).then(|| others.join("&"))
    }

    fn is_named(&self, raw: &[u8]) -> bool {
        let name = self.name.as_bytes();
        raw == name
            // What is encoded is never shorter than what it stands for.
            || raw.len() >= name.len()
                && raw.iter().any(|byte| matches!(byte, b'%' | b'+'))
                && form_decoded(raw).eq(name.iter().copied())
    }
}

/// What is no small letter is rarer than any.
fn rarest(name: &[u8]) -> u8 {
    const LIKELY: &[u8; 26] = b"etaoinsrhldcumfpgwybvkxjqz";
    let rareness = |byte: &&u8| memchr(**byte, LIKELY).unwrap_or(LIKELY.len());
    name.iter()
        .max_by_key(rareness)
        .copied()
        .unwrap_or_default()
}

/// The names and values of a query, as they are written.
fn pairs(query: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = Some(query);
    std::iter::from_fn(move || {
        let query = rest?;
        let name_end = memchr2(b'=', b'&', query).unwrap_or(query.len());
        let (name, after) = query.split_at(name_end);
        let value_end = match after {
            [b'=', value @ ..] => 1 + memchr(b'&', value).unwrap_or(value.len()),
            _ => 0,
        };
        let (value, after) = after.split_at(value_end);
        rest = after.get(1..);
        Some((name, value.get(1..).unwrap_or_default()))
    })
}

pub(super) fn form_decoded(raw: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let parts = raw.split(|&byte| byte == b'+').enumerate();
    parts.flat_map(|(at, part)| {
        let space = (at > 0).then_some(b' ');
        space.into_iter().chain(percent_decode(part))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given<'a>(name: &'static str, query: &'a str) -> Occurrence<'a> {
        Parameter::new(name).given_in(query)
    }

    #[test]
    fn a_name_is_found_however_it_is_written() {
        for (name, query) in [
            ("hook", "hook=1"),
            ("hook", "a=b&hook=1"),
            ("hook", "a=hook&h%6Fok=1&hooks=2&hoo=3"),
            ("hook", "%68%6f%6f%6b=1"),
            ("hook", "a=b&%68ook=1"),
            ("a hook", "a+hook=1"),
            ("a hook", "a%20hook=1"),
            ("a hook", "b=c&a+h%6fok=1"),
            (" hook", "+hook=1"),
            ("höok", "h%C3%B6ok=1"),
        ] {
            assert_eq!(given(name, query), Occurrence::Once(b"1"), "{query}");
        }
        for (name, query) in [
            ("hook", ""),
            ("hook", "hoo=k"),
            ("hook", "xhook=1&hookx=2&a=hook"),
            ("hook", "a=%68ook"),
            ("hook", "h+ok=1"),
            ("hook", "HOOK=1"),
        ] {
            assert_eq!(given(name, query), Occurrence::Never, "{query}");
        }
        assert_eq!(given("", "=1"), Occurrence::Never, "no name is none");
    }

    #[test]
    fn a_value_is_given_as_it_is_written() {
        for (query, value) in [
            ("a=1&b=2", "1"),
            ("b=2&a=%31+", "%31+"),
            ("b&a&c", ""),
            ("a=&b=a=3", ""),
            ("b=a&a==4", "=4"),
        ] {
            assert_eq!(
                given("a", query),
                Occurrence::Once(value.as_bytes()),
                "{query}"
            );
        }
        for query in ["a=1&a=1", "a&b&%61", "a=1&a=2&a=3"] {
            assert_eq!(given("a", query), Occurrence::Again, "{query}");
        }
    }

    #[test]
    fn all_else_of_a_query_stays_as_it_is_written() {
        let parameter = Parameter::new("hook");
        for (query, rest) in [
            ("hook=1", None),
            ("hook", None),
            ("a=b&hook=1", Some("a=b")),
            (
                "a=%20+b&&h%6Fok=1&hooks=2&hook=3=4&c",
                Some("a=%20+b&&hooks=2&c"),
            ),
            ("", Some("")),
            ("a", Some("a")),
        ] {
            let taken = parameter.taken_out_of(query);
            assert_eq!(taken.as_deref(), rest, "{query}");
        }
    }

    #[test]
    fn a_query_is_split_as_servers_split_it() {
        let split = |query: &str| -> Vec<(String, String)> {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let pairs = pairs(query.as_bytes());
            pairs
                .map(|(name, value)| (text(name), text(value)))
                .collect()
        };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(split(""), [pair("", "")]);
        assert_eq!(split("a"), [pair("a", "")]);
        let odd = [pair("a", "1=2"), pair("", ""), pair("b", ""), pair("c", "")];
        assert_eq!(split("a=1=2&&b&c="), odd);
        assert_eq!(split("a&b=&"), [pair("a", ""), pair("b", ""), pair("", "")]);
    }
}
