use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::VerifyErrorKind;
use crate::delivery::{
    Brand,
    signature::{Ed25519Signature, KEY_VERSION, Mac, VERSION},
    wire::{REQUEST_ID, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP},
};
use crate::id::is_id;

/// What a request's headers claim about its signature, all in one form.
pub(super) struct Claim<'a> {
    pub(super) id: &'a str,
    pub(super) seconds: u64,
    pub(super) form: Form,
    signature: &'a [u8],
}

/// How many `v1a` signatures are tried. During a rotation there are two.
const MAX_KEYED: usize = 8;

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Form {
    Standard,
    Branded,
}

impl<'a> Claim<'a> {
    /// Chooses the form and reads its three headers. Whether there is a signature that anybody could
    /// verify is not looked at.
    pub(super) fn read(
        headers: &'a HeaderMap,
        brand: &Brand,
        only_standard: bool,
    ) -> Result<Self, VerifyErrorKind> {
        let is_standard = only_standard || headers.contains_key(&WEBHOOK_SIGNATURE);
        let (form, id, timestamp, signature) = if is_standard {
            let names = (&WEBHOOK_ID, &WEBHOOK_TIMESTAMP, &WEBHOOK_SIGNATURE);
            (Form::Standard, names.0, names.1, names.2)
        } else {
            let names = (&REQUEST_ID, brand.timestamp(), brand.signature());
            (Form::Branded, names.0, names.1, names.2)
        };
        Ok(Self {
            id: parse_id(single(headers, id)?)?,
            seconds: parse_seconds(single(headers, timestamp)?)?,
            signature: single(headers, signature)?,
            form,
        })
    }

    /// The well-formed `v1` signatures.
    pub(super) fn macs(&self) -> impl Iterator<Item = [u8; Mac::LEN]> + use<'a> {
        let form = self.form;
        self.signatures(VERSION)
            .filter_map(move |digits| match form {
                Form::Standard => from_base64(digits),
                Form::Branded => from_hex(digits),
            })
    }

    /// The well-formed `v1a` signatures. No more than a few: the body is hashed for each of them, so
    /// whoever sends many must not keep a receiver busy.
    pub(super) fn keyed(&self) -> impl Iterator<Item = Ed25519Signature> + use<'a> {
        let standard = (self.form == Form::Standard).then(|| self.signatures(KEY_VERSION));
        let digits = standard.into_iter().flatten();
        digits.filter_map(signature_from_base64).take(MAX_KEYED)
    }

    /// What follows this version, wherever it is given.
    fn signatures(&self, version: &'static str) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let form = self.form;
        self.signature
            .split(move |byte| form == Form::Standard && *byte == b' ')
            .filter_map(move |text| text.strip_prefix(version.as_bytes()))
    }
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<&'a [u8], VerifyErrorKind> {
    let mut values = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let value = values.next().ok_or(VerifyErrorKind::MissingHeader)?;
    match values.next() {
        Some(_) => Err(VerifyErrorKind::DuplicateHeader),
        None => Ok(value),
    }
}

fn parse_id(value: &[u8]) -> Result<&str, VerifyErrorKind> {
    Some(value)
        .filter(|id| is_id(id))
        .and_then(|id| str::from_utf8(id).ok())
        .ok_or(VerifyErrorKind::MalformedHeader)
}

/// Accepts only the one spelling that a sender signs: no sign, no leading zero.
fn parse_seconds(value: &[u8]) -> Result<u64, VerifyErrorKind> {
    let canonical = match value {
        [b'0'] => true,
        [first, rest @ ..] => *first != b'0' && first.is_ascii_digit() && all_digits(rest),
        [] => false,
    };
    Some(value)
        .filter(|_| canonical)
        .and_then(|digits| str::from_utf8(digits).ok()?.parse().ok())
        .ok_or(VerifyErrorKind::MalformedHeader)
}

fn all_digits(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_digit)
}

fn from_hex(digits: &[u8]) -> Option<[u8; Mac::LEN]> {
    if digits.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let mut mac = [0; Mac::LEN];
    hex::decode_to_slice(digits, &mut mac).ok()?;
    Some(mac)
}

fn from_base64(digits: &[u8]) -> Option<[u8; Mac::LEN]> {
    if digits.len() != Mac::BASE64_LEN {
        return None;
    }
    // base64 requires a buffer of its estimated size, which does not subtract padding.
    let mut buffer = [0; Mac::BASE64_LEN / 4 * 3];
    let len = BASE64.decode_slice(digits, &mut buffer).ok()?;
    buffer[..len].try_into().ok()
}

fn signature_from_base64(digits: &[u8]) -> Option<Ed25519Signature> {
    if digits.len() != Ed25519Signature::BASE64_LEN {
        return None;
    }
    let mut buffer = [0; Ed25519Signature::BASE64_LEN / 4 * 3];
    let len = BASE64.decode_slice(digits, &mut buffer).ok()?;
    buffer[..len].try_into().ok().map(Ed25519Signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_have_one_spelling() {
        for (text, seconds) in [
            ("0", 0),
            ("1700000000", 1_700_000_000),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse_seconds(text.as_bytes()), Ok(seconds));
        }
        for text in [
            "",
            "00",
            "01700000000",
            "+1",
            "-1",
            " 1",
            "1 ",
            "1.0",
            "1e9",
            "0x1",
            "1_0",
            "\u{661}",
            "18446744073709551616",
            "99999999999999999999999999",
        ] {
            assert!(parse_seconds(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_mac_has_one_spelling() {
        let hex = "0123456789abcdef".repeat(4);
        assert!(from_hex(hex.as_bytes()).is_some());
        assert!(from_hex(hex.to_uppercase().as_bytes()).is_none());
        assert!(from_hex(&hex.as_bytes()[2..]).is_none());
        assert!(from_hex(format!("{hex}00").as_bytes()).is_none());

        assert!(from_base64(b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").is_some());
        for other in [
            &b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB="[..], // bits set past the end
            b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", // 33 bytes
            b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==", // 31 bytes
            b"-_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            b"",
        ] {
            assert!(from_base64(other).is_none(), "{}", other.escape_ascii());
        }
    }
}
