use std::{error::Error, fmt, io, path::Path, str::FromStr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use ed25519_dalek::ed25519::signature::MultipartSigner;
use zeroize::Zeroizing;

use super::{PublicKey, secret::STANDARD_BASE64, signature::Ed25519Signature};
use crate::key_file;

const PREFIX: &str = "whsk_";
const LEN: usize = 32;
/// `whsk_` and the base64 of both halves, a line end, and one byte more than any key.
const MAX_FILE: usize = PREFIX.len() + (2 * LEN).div_ceil(3) * 4 + 3;

/// The service's own Ed25519 key, which signs every delivery:
/// [`with_signing_key`](crate::dispatch::DispatcherBuilder::with_signing_key).
///
/// A receiver then needs no secret in common with the service to tell its deliveries from others, but
/// only the [public key](Self::public_key).
///
/// The text form is that of the Standard Webhooks: `whsk_` followed by the base64 of the 32 bytes that
/// RFC 8032 calls the private key, or of these and the public key behind them, as several libraries
/// write it.
///
/// Clones share one copy, which is overwritten with zeros when the last of them is dropped. `Debug`
/// shows nothing of it, and there is no `Display`.
///
/// ```
/// use tower_webhook::delivery::SigningKey;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("signing.key");
/// let key = SigningKey::from_file_or_new(path)?;
/// println!("give this to receivers: {}", key.public_key());
///
/// // From an environment variable, or wherever secrets are kept.
/// let key: SigningKey = "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=".parse()?;
/// assert_eq!(
///     key.public_key().to_string(),
///     "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SigningKey(Arc<ed25519_dalek::SigningKey>);

impl SigningKey {
    /// A key of 32 bytes, which have to be random: a password is no key.
    #[must_use]
    pub fn from_bytes(bytes: [u8; LEN]) -> Self {
        let bytes = Zeroizing::new(bytes);
        Self(Arc::new(ed25519_dalek::SigningKey::from_bytes(&bytes)))
    }

    /// The key in this file, in its text form with or without a line end.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or holds anything else.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, SigningKeyError> {
        let contents = key_file::read(path.as_ref(), MAX_FILE).map_err(SigningKeyError::io)?;
        parse(key_file::line(&contents)).ok_or_else(SigningKeyError::not_a_key)
    }

    /// The key in this file, or a new random one if there is no such file: it is then created, for
    /// its owner alone.
    ///
    /// Receivers know the service by this key: keep it with the other secrets of the deployment.
    ///
    /// # Errors
    ///
    /// As [`from_file`](Self::from_file), and when the file cannot be created.
    pub fn from_file_or_new(path: impl AsRef<Path>) -> Result<Self, SigningKeyError> {
        let path = path.as_ref();
        if path.try_exists().map_err(SigningKeyError::io)? {
            key_file::keep(path);
            return Self::from_file(path);
        }
        let mut bytes = Zeroizing::new([0; LEN]);
        getrandom::fill(&mut *bytes).map_err(|error| SigningKeyError::io(error.into()))?;
        // With room for all of it: growing would leave copies.
        let mut text = Zeroizing::new(String::with_capacity(MAX_FILE));
        text.push_str(PREFIX);
        BASE64.encode_string(*bytes, &mut text);
        text.push('\n');
        match key_file::create(path, text.as_bytes()).map_err(SigningKeyError::io)? {
            true => Ok(Self::from_bytes(*bytes)),
            false => Self::from_file(path),
        }
    }

    /// What receivers verify its signatures with.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey::of(self.0.verifying_key())
    }

    /// Signs a message that is given in parts. It is read twice and copied never.
    pub(crate) fn sign(&self, message: &[&[u8]]) -> Ed25519Signature {
        let signature: ed25519_dalek::Signature = self.0.multipart_sign(message);
        Ed25519Signature(signature.to_bytes())
    }
}

fn parse(text: &[u8]) -> Option<SigningKey> {
    let encoded = text.strip_prefix(PREFIX.as_bytes())?;
    let bytes = Zeroizing::new(STANDARD_BASE64.decode(encoded).ok()?);
    let (key, public) = bytes.split_first_chunk::<LEN>()?;
    let key = SigningKey::from_bytes(*key);
    let is_whole = public.is_empty() || public == key.public_key().to_bytes();
    is_whole.then_some(key)
}

impl FromStr for SigningKey {
    type Err = SigningKeyError;

    fn from_str(text: &str) -> Result<Self, SigningKeyError> {
        parse(text.as_bytes()).ok_or_else(SigningKeyError::not_a_key)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

/// Why there is no [`SigningKey`] in a text or a file. It shows neither the path nor the key.
#[derive(Debug)]
pub struct SigningKeyError {
    source: Option<io::Error>,
}

impl SigningKeyError {
    fn not_a_key() -> Self {
        Self { source: None }
    }

    fn io(error: io::Error) -> Self {
        Self {
            source: Some(error),
        }
    }
}

impl fmt::Display for SigningKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.source {
            Some(_) => "the key file cannot be read or created",
            None => "a signing key must be `whsk_` followed by the base64 of its 32 bytes",
        })
    }
}

impl Error for SigningKeyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|error| error as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032, 7.1: private key, public key, message, signature.
    const RFC_8032: [[&str; 4]; 4] = [
        [
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ],
        [
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ],
        [
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ],
        [
            "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
            "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
        ],
    ];

    #[test]
    fn vectors_of_rfc_8032() {
        for vector in RFC_8032 {
            let [private, public, message, signature] =
                vector.map(|text| hex::decode(text).unwrap());
            let key = SigningKey::from_bytes(private.try_into().unwrap());
            assert_eq!(key.public_key().to_bytes()[..], public);
            for at in 0..=message.len() {
                let (one, other) = message.split_at(at);
                let made = key.sign(&[one, other]);
                assert_eq!(made.0[..], signature);
                assert!(
                    key.public_key().verifies(&[other, one], &made)
                        == (at == 0 || at == message.len())
                );
                assert!(key.public_key().verifies(&[one, other], &made));
            }
            let another = Ed25519Signature([7; 64]);
            assert!(!key.public_key().verifies(&[&message], &another));
        }
    }

    #[test]
    fn the_text_has_32_bytes_or_both_halves() {
        let key = SigningKey::from_bytes([0xab; 32]);
        let public = key.public_key().to_bytes();
        let text = |bytes: &[u8]| format!("whsk_{}", BASE64.encode(bytes));
        let short = text(&[0xab; 32]);
        let long = text(&[[0xab; 32], public].concat());
        for text in [
            &short,
            &long,
            short.trim_end_matches('='),
            long.trim_end_matches('='),
        ] {
            let read: SigningKey = text.parse().unwrap();
            assert_eq!(read.public_key(), key.public_key(), "{text}");
        }
        for text in [
            "",
            "whsk_",
            &short[5..],
            &short.replace("whsk", "whsec"),
            &short.replace("whsk", "WHSK"),
            &format!("{short}\n"),
            &format!(" {short}"),
            &text(&[0xab; 31]),
            &text(&[0xab; 33]),
            // Another key's public half.
            &text(&[0xab; 64]),
            &text(&[&[0xab; 32], &public[..], b"x"].concat()),
        ] {
            let error = text.parse::<SigningKey>().unwrap_err();
            assert!(error.source().is_none(), "{text}");
        }
    }

    #[test]
    fn a_key_is_wiped_and_never_shown() {
        fn wiped_on_drop<T: zeroize::ZeroizeOnDrop>(_: &T) {}

        let key = SigningKey::from_bytes([0xab; 32]);
        assert!(Arc::ptr_eq(&key.0, &key.clone().0));
        wiped_on_drop(&*key.0);
        assert_eq!(
            format!("{key:?} {:#?}", Some(&key)).matches("171").count(),
            0
        );
        assert_eq!(format!("{key:?}"), "SigningKey(..)");
    }
}
