use std::fmt;

/// The place of a call in a distributed trace: the `traceparent` of [W3C Trace Context].
///
/// A call's `traceparent` header travels with its delivery. Each attempt sends it on, or what a
/// [`TracePropagator`](crate::dispatch::TracePropagator) makes of it.
///
/// What a later version than 00 adds is left out, and of its flags no more is kept than whether the
/// trace is sampled: the recommendation has such a value passed on as version 00.
///
/// ```
/// use tower_webhook::delivery::TraceParent;
///
/// let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
/// let parent = TraceParent::parse(text).unwrap();
/// assert!(parent.is_sampled());
/// assert_eq!(parent.to_string(), text);
///
/// let later = format!("cc{}-and-more", &text[2..]);
/// assert_eq!(TraceParent::parse(&later), Some(parent));
/// assert_eq!(TraceParent::parse(&text.to_uppercase()), None);
/// ```
///
/// [W3C Trace Context]: https://www.w3.org/TR/trace-context/#traceparent-header
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceParent {
    trace_id: [u8; 16],
    parent_id: [u8; 8],
    flags: u8,
}

const SAMPLED: u8 = 1;

impl TraceParent {
    /// The length of version 00 as text.
    pub(crate) const TEXT_LEN: usize = 55;

    /// The span `parent_id` of the trace `trace_id`; `None` where either is all zeros, which stands for
    /// none. `flags` are those of version 00.
    #[must_use]
    pub fn new(trace_id: [u8; 16], parent_id: [u8; 8], flags: u8) -> Option<Self> {
        let is_valid = trace_id != [0; 16] && parent_id != [0; 8];
        is_valid.then_some(Self {
            trace_id,
            parent_id,
            flags,
        })
    }

    /// Reads the header's value; `None` where it is not valid.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::read(text.as_bytes())
    }

    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        let (known, more) = text.split_at_checked(Self::TEXT_LEN)?;
        if [2, 35, 52].iter().any(|&at| known[at] != b'-') {
            return None;
        }
        let [version] = lower_hex(&known[..2])?;
        let [flags] = lower_hex(&known[53..])?;
        let flags = match (version, more) {
            (0, []) => flags,
            (0 | 0xff, _) => return None,
            (_, [] | [b'-', ..]) => flags & SAMPLED,
            _ => return None,
        };
        Self::new(lower_hex(&known[3..35])?, lower_hex(&known[36..52])?, flags)
    }

    /// The id of the whole trace.
    #[must_use]
    pub fn trace_id(&self) -> [u8; 16] {
        self.trace_id
    }

    /// The id of the span that is the parent of what the receiver does.
    #[must_use]
    pub fn parent_id(&self) -> [u8; 8] {
        self.parent_id
    }

    /// The flags of version 00.
    #[must_use]
    pub fn flags(&self) -> u8 {
        self.flags
    }

    /// Whether the caller may have recorded the trace.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// As version 00, in this buffer.
    pub(crate) fn encode(self, buffer: &mut [u8; Self::TEXT_LEN]) -> &[u8] {
        *buffer = [b'-'; Self::TEXT_LEN];
        for (place, bytes) in [
            (0..2, &[0][..]),
            (3..35, &self.trace_id),
            (36..52, &self.parent_id),
            (53..55, &[self.flags]),
        ] {
            hex::encode_to_slice(bytes, &mut buffer[place]).expect("two digits a byte");
        }
        buffer
    }
}

fn lower_hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let is_lower = |byte: &u8| !byte.is_ascii_uppercase();
    let is_hex = text.iter().all(is_lower) && hex::decode_to_slice(text, &mut bytes).is_ok();
    is_hex.then_some(bytes)
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; Self::TEXT_LEN];
        let text = str::from_utf8(self.encode(&mut text));
        f.write_str(text.expect("it is ASCII"))
    }
}

impl fmt::Debug for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    #[test]
    fn a_valid_one_comes_back_as_it_was() {
        for flags in 0..=255 {
            let text = format!("00-{TRACE}-{SPAN}-{flags:02x}");
            let parent = TraceParent::parse(&text).unwrap();
            assert_eq!(parent.to_string(), text);
            assert_eq!(parent.flags(), flags);
            assert_eq!(parent.is_sampled(), flags % 2 == 1);
            assert_eq!(hex::encode(parent.trace_id()), TRACE);
            assert_eq!(hex::encode(parent.parent_id()), SPAN);
        }
    }

    #[test]
    fn a_later_version_is_read_as_far_as_this_one_goes() {
        for (version, flags, more) in [
            ("01", "01", ""),
            ("cc", "ff", "-"),
            ("fe", "03", "-what-the-future-will-be-like"),
        ] {
            let text = format!("{version}-{TRACE}-{SPAN}-{flags}{more}");
            let parent = TraceParent::parse(&text).unwrap();
            assert_eq!(parent.to_string(), format!("00-{TRACE}-{SPAN}-01"));
        }
    }

    #[test]
    fn whatever_else_there_is_is_invalid() {
        let valid = format!("00-{TRACE}-{SPAN}-01");
        let with = |at: usize, byte: char| {
            let mut text: Vec<char> = valid.chars().collect();
            text[at] = byte;
            text.into_iter().collect::<String>()
        };
        for at in 0..valid.len() {
            for byte in ['g', 'A', ' ', '_', '.', '\0'] {
                assert_eq!(TraceParent::parse(&with(at, byte)), None, "{at} {byte:?}");
            }
            assert_eq!(TraceParent::parse(&valid[..at]), None, "{at}");
        }
        let zeros = |len| "0".repeat(len);
        for text in [
            format!("00-{}-{SPAN}-01", zeros(32)),
            format!("00-{TRACE}-{}-01", zeros(16)),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("01-{TRACE}-{SPAN}-01.what-the-future-will-not-be-like"),
            format!("{valid}-"),
            format!("{valid}-more"),
            format!("{valid}, {valid}"),
            format!(" {valid}"),
            format!("{valid} "),
        ] {
            assert_eq!(TraceParent::parse(&text), None, "{text}");
        }
    }
}
