use std::{fmt, sync::Arc};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use hmac::digest::CtOutput;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

const STANDARD_PREFIX: &str = "whsec_";

/// Padding is optional, as in the Standard Webhooks reference libraries.
pub(super) const STANDARD_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The key that signs a delivery.
///
/// A secret is a sequence of bytes that is used as the HMAC key unchanged:
/// nothing is trimmed or stretched. Only one in the format of the Standard
/// Webhooks, `whsec_` followed by base64, has two keys: what the base64 encodes
/// signs the Standard Webhooks form, as their libraries expect, and the text
/// itself signs the branded form.
///
/// Clones share one copy, which is overwritten with zeros when the last of
/// them is dropped. `Debug` never shows it, there is no `Display`, and secrets
/// cannot be compared with `==`, whose timing would leak how much of a guess is
/// right.
///
/// ```
/// use tower_webhook::Secret;
///
/// let secret = Secret::new("a-value-of-your-choice");
/// assert_eq!(format!("{secret:?}"), "Secret(..)");
/// ```
#[derive(Clone)]
pub struct Secret(Arc<Key>);

/// Wiped on drop. Most keys are short: those are stored inline, beside the reference count.
enum Key {
    Short {
        bytes: Zeroizing<[u8; SHORT]>,
        len: usize,
    },
    Long(Zeroizing<Box<[u8]>>),
}

const SHORT: usize = 64;

impl Secret {
    /// Copies a key's raw bytes.
    ///
    /// Wiping the original is up to the caller.
    #[must_use]
    pub fn new(key: impl AsRef<[u8]>) -> Self {
        let given = key.as_ref();
        if given.len() > SHORT {
            return Self(Arc::new(Key::Long(Zeroizing::new(given.into()))));
        }
        let bytes = Zeroizing::new([0; SHORT]);
        let len = given.len();
        let mut key = Arc::new(Key::Short { bytes, len });
        // The key is copied only once it is in its final location: moving it would leave a copy.
        if let Some(Key::Short { bytes, len }) = Arc::get_mut(&mut key) {
            bytes[..*len].copy_from_slice(given);
        }
        Self(key)
    }

    /// Parses a key in the Standard Webhooks format: `whsec_` followed by base64.
    pub(crate) fn from_standard(text: &str) -> Result<Self, InvalidSecret> {
        let encoded = text.strip_prefix(STANDARD_PREFIX).ok_or(InvalidSecret)?;
        let key = STANDARD_BASE64.decode(encoded).map_err(|_| InvalidSecret)?;
        let key = Zeroizing::new(key);
        if key.is_empty() {
            return Err(InvalidSecret);
        }
        Ok(Self::new(&*key))
    }

    /// Whether this is it, compared in constant time.
    pub(crate) fn is(&self, given: &[u8]) -> bool {
        type Hash = CtOutput<Sha256>;
        let hash = |bytes: &[u8]| Hash::new(Sha256::digest(bytes));
        hash(self.expose()) == hash(given)
    }

    /// The key of the Standard Webhooks form, where it is another one than [`expose`](Self::expose)
    /// gives: the secret is itself in that format.
    pub(crate) fn standard_key(&self) -> Option<Self> {
        let text = self.expose();
        if !text.starts_with(STANDARD_PREFIX.as_bytes()) {
            return None;
        }
        Self::from_standard(str::from_utf8(text).ok()?).ok()
    }

    /// The key itself, to be passed to a MAC. Do not log or store it.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        match &*self.0 {
            Key::Short { bytes, len } => &bytes[..*len],
            Key::Long(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The text is not a Standard Webhooks secret: `whsec_` followed by the base64
/// of at least one byte.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidSecret;

impl fmt::Display for InvalidSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret must be `whsec_` followed by base64")
    }
}

impl std::error::Error for InvalidSecret {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_one_copy_that_is_wiped() {
        fn wiped_on_drop<T: zeroize::ZeroizeOnDrop>(_: &T) {}

        for len in [1, SHORT, SHORT + 1] {
            let secret = Secret::new(vec![7; len]);
            let clone = secret.clone();
            assert!(std::ptr::eq(secret.expose(), clone.expose()));
            match &*secret.0 {
                Key::Short { bytes, .. } => wiped_on_drop(bytes),
                Key::Long(bytes) => wiped_on_drop(bytes),
            }
        }
    }

    #[test]
    fn bytes_are_kept_as_they_are() {
        let (short, long) = ([7; SHORT], [7; SHORT + 1]);
        for key in [
            &b""[..],
            b" padded\n",
            b"whsec_AAAA",
            b"\0\xff",
            &short,
            &long,
        ] {
            assert_eq!(Secret::new(key).expose(), key);
        }
    }

    #[test]
    fn a_secret_is_itself_and_nothing_else() {
        let secret = Secret::new("hush");
        assert!(secret.is(b"hush"));
        for other in ["", "hus", "hush\0", "HUSH", "hush "] {
            assert!(!secret.is(other.as_bytes()), "{other}");
        }
        assert!(Secret::new("").is(b""));
    }

    #[test]
    fn debug_is_redacted() {
        assert_eq!(format!("{:?}", Secret::new("hush")), "Secret(..)");
        assert_eq!(format!("{:#?}", Some(Secret::new("7"))).find('7'), None);
    }

    #[test]
    fn standard_spelling() {
        for (text, key) in [
            ("whsec_cw==", &b"s"[..]),
            ("whsec_cw", b"s"),
            ("whsec_+/8=", b"\xfb\xff"),
        ] {
            assert_eq!(Secret::from_standard(text).unwrap().expose(), key);
        }
        for text in [
            "",
            "whsec_",
            "cw==",
            "WHSEC_cw==",
            "whsec_c",
            "whsec_cx==",
            "whsec_-_8=",
            "whsec_ cw==",
            "whsec_cw==\n",
            "whpk_cw==",
            "whsec_whsec_cw==",
        ] {
            assert_eq!(
                Secret::from_standard(text).unwrap_err(),
                InvalidSecret,
                "{text}"
            );
        }
    }

    #[test]
    fn a_secret_in_the_standard_format_has_two_keys() {
        for (text, key) in [
            (&b"whsec_cw=="[..], Some(&b"s"[..])),
            (b"whsec_cw", Some(b"s")),
            (b"whsec_", None),
            (b"whsec_cx==", None),
            (b"whsec_no base64", None),
            (b"whsec_\xff", None),
            (b"cw==", None),
            (b"WHSEC_cw==", None),
            (b"whsec_\xc3\xa4", None),
        ] {
            let secret = Secret::new(text);
            let standard = secret.standard_key();
            assert_eq!(
                standard.as_ref().map(Secret::expose),
                key,
                "{}",
                text.escape_ascii()
            );
            assert_eq!(secret.expose(), text);
        }
    }
}
