use std::{error::Error, fmt, str::FromStr};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD as BASE64_URL},
};
use ed25519_dalek::{Signature, VerifyingKey, ed25519::signature::MultipartVerifier};
use sha2::{Digest, Sha256};

use super::{secret::STANDARD_BASE64, signature::Ed25519Signature};

const PREFIX: &str = "whpk_";
const LEN: usize = 32;

/// The public half of a [`SigningKey`](super::SigningKey), which receivers verify with.
///
/// It is public: `Display` and `Debug` show it, in the form of the Standard Webhooks, `whpk_` followed
/// by base64. A service publishes its keys with [`keys`](crate::keys()).
///
/// ```
/// use tower_webhook::delivery::PublicKey;
///
/// let text = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
/// let key: PublicKey = text.parse()?;
/// assert_eq!(key.to_string(), text);
/// // The example key of RFC 8037, and its thumbprint there.
/// assert_eq!(key.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
/// # Ok::<(), tower_webhook::delivery::InvalidPublicKey>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// A key of 32 bytes, as RFC 8032 encodes it. In a JSON Web Key it is `x`, in base64url.
    ///
    /// # Errors
    ///
    /// [`InvalidPublicKey`] if they encode no point, or in another way than RFC 8032 does. One of the few
    /// keys of low order, under which anybody can sign, is refused, too.
    pub fn from_bytes(bytes: [u8; LEN]) -> Result<Self, InvalidPublicKey> {
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| InvalidPublicKey)?;
        let is_canonical = key.to_edwards().compress().to_bytes() == bytes;
        match is_canonical && !key.is_weak() {
            true => Ok(Self(key)),
            false => Err(InvalidPublicKey),
        }
    }

    pub(super) fn of(key: VerifyingKey) -> Self {
        Self(key)
    }

    /// The 32 bytes, as RFC 8032 encodes the key.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; LEN] {
        self.0.to_bytes()
    }

    /// Its name in a set of JSON Web Keys: its thumbprint (RFC 7638) with SHA-256, in base64url.
    #[must_use]
    pub fn kid(&self) -> String {
        let x = self.x();
        // The members that count, in the order of their names, without white space.
        let jwk = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        BASE64_URL.encode(Sha256::digest(jwk))
    }

    /// The JSON Web Key (RFC 8037).
    pub(crate) fn jwk(&self) -> String {
        let (x, kid) = (self.x(), self.kid());
        format!(
            r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}","kid":"{kid}","use":"sig","alg":"EdDSA"}}"#
        )
    }

    fn x(&self) -> String {
        BASE64_URL.encode(self.0.as_bytes())
    }

    /// Whether this is the key's signature of the message, which is given in parts.
    pub(crate) fn verifies(&self, message: &[&[u8]], signature: &Ed25519Signature) -> bool {
        let signature = Signature::from_bytes(&signature.0);
        self.0.multipart_verify(message, &signature).is_ok()
    }
}

impl FromStr for PublicKey {
    type Err = InvalidPublicKey;

    fn from_str(text: &str) -> Result<Self, InvalidPublicKey> {
        let encoded = text.strip_prefix(PREFIX).ok_or(InvalidPublicKey)?;
        let bytes = STANDARD_BASE64.decode(encoded);
        let bytes = bytes.map_err(|_| InvalidPublicKey)?.try_into();
        Self::from_bytes(bytes.map_err(|_| InvalidPublicKey)?)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", BASE64.encode(self.0.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// The bytes or the text are no Ed25519 public key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidPublicKey;

impl fmt::Display for InvalidPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a public key must be `whpk_` followed by the base64 of its 32 bytes")
    }
}

impl Error for InvalidPublicKey {}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

    #[test]
    fn the_text_is_read_and_written() {
        let key: PublicKey = KEY.parse().unwrap();
        assert_eq!(key.to_string(), KEY);
        assert_eq!(format!("{key:?}"), format!("PublicKey({KEY})"));
        assert_eq!(KEY.trim_end_matches('=').parse(), Ok(key));
        assert_eq!(PublicKey::from_bytes(key.to_bytes()), Ok(key));
        for text in [
            "",
            "whpk_",
            &KEY[5..],
            "whpk_AAAA",
            &format!("{KEY}\n"),
            &KEY.replace("pk", "sk"),
        ] {
            assert_eq!(text.parse::<PublicKey>(), Err(InvalidPublicKey), "{text}");
        }
    }

    #[test]
    fn a_key_is_a_point_of_high_order_with_one_spelling() {
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut no_point = [0; 32];
        no_point[0] = 2;
        for bytes in [[0; 32], neutral, no_point, [0xff; 32]] {
            assert_eq!(PublicKey::from_bytes(bytes), Err(InvalidPublicKey));
        }
    }
}
