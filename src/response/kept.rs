//! What is kept of a response's headers: a few, and no more than [`MAX`] bytes.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::delivery::wire::GRPC_MESSAGE;

/// Names and values together, in bytes. A service may answer with what its caller sent.
const MAX: usize = 8 << 10;

/// What most responses have: no copy is made of these.
static COMMON: [HeaderValue; 5] = [
    HeaderValue::from_static("application/json"),
    HeaderValue::from_static("application/octet-stream"),
    HeaderValue::from_static("text/plain; charset=utf-8"),
    HeaderValue::from_static("text/event-stream"),
    HeaderValue::from_static("application/grpc"),
];

type Kept = Vec<(HeaderName, HeaderValue)>;

/// Each value of each of these headers. What would never fit is not copied.
pub(super) fn select(headers: &HeaderMap, names: &[HeaderName]) -> Kept {
    let mut selected = Vec::new();
    for (name, value) in headers {
        let may_fit = value.len() <= MAX || *name == GRPC_MESSAGE;
        if names.contains(name) && may_fit {
            if selected.is_empty() {
                // Most have no other.
                selected.reserve_exact(1);
            }
            let kept = match value.len() <= MAX {
                true => copy(value),
                false => cut(value, MAX),
            };
            selected.push((name.clone(), kept));
        }
    }
    selected
}

/// Leaves out what does not fit, and cuts a `grpc-message`: it has what the others leave. Says how many
/// bytes are kept.
pub(super) fn cap(headers: &mut Kept) -> usize {
    let len = |(name, value): &(HeaderName, HeaderValue)| name.as_str().len() + value.len();
    let sum: usize = headers.iter().map(len).sum();
    if sum <= MAX {
        return sum;
    }
    let mut left = MAX;
    headers.retain(|header| {
        let fits = header.0 == GRPC_MESSAGE || len(header) <= left;
        if fits && header.0 != GRPC_MESSAGE {
            left -= len(header);
        }
        fits
    });
    headers.retain_mut(|(name, value)| {
        if *name != GRPC_MESSAGE {
            return true;
        }
        let Some(room) = left.checked_sub(name.as_str().len()) else {
            return false;
        };
        if value.len() > room {
            *value = cut(value, room);
        }
        left = room - value.len();
        true
    });
    MAX - left
}

/// At the end of a character: the message is UTF-8, of which any byte may be percent-encoded.
fn cut(message: &HeaderValue, room: usize) -> HeaderValue {
    let bytes = message.as_bytes();
    let mut end = 0;
    let mut at = 0;
    while at <= room {
        let (decoded, len) = match bytes[at..] {
            [] => break,
            [b'%', high, low, ..] => match (hex(high), hex(low)) {
                (Some(high), Some(low)) => (high << 4 | low, 3),
                _ => (b'%', 1),
            },
            [byte, ..] => (byte, 1),
        };
        let begins_a_character = decoded & 0b1100_0000 != 0b1000_0000;
        if begins_a_character {
            end = at;
        }
        at += len;
    }
    HeaderValue::from_bytes(&bytes[..end]).expect("a part of a header's value")
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|digit| digit.try_into().ok())
}

/// A clone would keep the buffer of a whole head where the response has come over a connection.
fn copy(value: &HeaderValue) -> HeaderValue {
    let known = COMMON.iter().find(|known| *known == value).cloned();
    let copied = || HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone());
    let mut copy = known.unwrap_or_else(copied);
    copy.set_sensitive(value.is_sensitive());
    copy
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::header::{CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE};
    use percent_encoding::percent_decode;
    use proptest::prelude::*;

    use super::*;
    use crate::delivery::wire::{FORWARDED, GRPC_STATUS};

    fn value(bytes: &[u8]) -> HeaderValue {
        HeaderValue::from_bytes(bytes).unwrap()
    }

    #[test]
    fn what_is_forwarded_does_not_keep_the_head_that_it_was_in() {
        let head = Bytes::from(b"text/plain\r\nx-more: and so on".to_vec());
        let value = HeaderValue::from_maybe_shared(head.slice(..10)).unwrap();
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, value)]);
        let kept = select(&headers, &FORWARDED);
        drop(headers);
        assert_eq!(kept, [(CONTENT_TYPE, "text/plain".parse().unwrap())]);
        assert!(head.is_unique());
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_a_message_has_the_rest() {
        let mut headers = vec![
            (CONTENT_TYPE, value(&[b'a'; 8_000])),
            (CONTENT_ENCODING, value(&[b'b'; 1_000])),
            (GRPC_MESSAGE, value(&[b'c'; 1_000])),
            (CONTENT_LANGUAGE, value(b"en")),
            (GRPC_STATUS, value(b"13")),
        ];
        assert_eq!(cap(&mut headers), MAX);
        let kept = headers.iter().map(|(name, value)| (name, value.len()));
        let message = MAX - (12 + 8_000) - (16 + 2) - (11 + 2) - 12;
        assert!(kept.eq([
            (&CONTENT_TYPE, 8_000),
            (&GRPC_MESSAGE, message),
            (&CONTENT_LANGUAGE, 2),
            (&GRPC_STATUS, 2),
        ]));
    }

    #[test]
    fn several_messages_share_what_is_left() {
        let mut headers = vec![(GRPC_MESSAGE, value(&[b'c'; 5_000])); 1_000];
        let kept = cap(&mut headers);
        assert!(kept <= MAX, "{kept}");
        assert_eq!(headers[0].1.len(), 5_000);
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        let mut headers = vec![(GRPC_MESSAGE, value(b"50%25 of %E2%82"))];
        assert_eq!(cap(&mut headers), 12 + 15);
        assert_eq!(headers[0].1, "50%25 of %E2%82");
    }

    proptest! {
        #[test]
        fn a_message_is_cut_at_the_end_of_a_character(text in "\\PC{0,20}", room in 0..80usize) {
            let encode = |byte: u8| match byte.is_ascii_graphic() && byte != b'%' {
                true => char::from(byte).to_string(),
                false => format!("%{byte:02X}"),
            };
            let encoded: String = text.bytes().map(encode).collect();
            for message in [encoded.as_bytes(), text.as_bytes()] {
                if message.len() <= room {
                    continue;
                }
                let is_text = message == text.as_bytes();
                let cut = cut(&value(message), room);
                prop_assert!(cut.len() <= room && message.starts_with(cut.as_bytes()));
                let decoded: Vec<u8> = match is_text {
                    true => cut.as_bytes().to_vec(),
                    false => percent_decode(cut.as_bytes()).collect(),
                };
                prop_assert!(text.as_bytes().starts_with(&decoded) || is_text);
                prop_assert!(str::from_utf8(&decoded).is_ok());
                // No more is cut than one character.
                let next = 12;
                prop_assert!(cut.len() + next > room);
            }
        }
    }
}
