use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, KeyInit as _, Mac as _, digest::CtOutput};
use sha2::Sha256;

use crate::delivery::secret::Secret;

/// The prefix for the signature version, in both header forms.
pub(crate) const VERSION: &str = "v1,";

/// The prefix of a signature with a key of the service's own, in the Standard Webhooks form.
pub(crate) const KEY_VERSION: &str = "v1a,";

/// Signs one attempt: a single pass over `{id}.{timestamp}.{body}`, with the body
/// as segments in their order.
///
/// The signed text is unambiguous only for an id for which [`is_id`](crate::id::is_id) holds.
pub(crate) fn sign<'a>(
    secret: &Secret,
    id: &[u8],
    timestamp: u64,
    segments: impl IntoIterator<Item = &'a [u8]>,
) -> Mac {
    let mut signing = Signing::new(secret, id, timestamp);
    for segment in segments {
        signing.update(segment);
    }
    signing.finish()
}

/// [`sign`] in steps.
pub(crate) struct Signing(Hmac<Sha256>);

impl Signing {
    pub(crate) fn new(secret: &Secret, id: &[u8], timestamp: u64) -> Self {
        let mut hmac =
            Hmac::<Sha256>::new_from_slice(secret.expose()).expect("HMAC takes keys of any length");
        hmac.update(id);
        hmac.update(b".");
        hmac.update(itoa::Buffer::new().format(timestamp).as_bytes());
        hmac.update(b".");
        Self(hmac)
    }

    /// Adds the next bytes of the body.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> Mac {
        Mac(self.0.finalize().into_bytes().into())
    }
}

/// The MAC of one attempt, which each header form encodes in its own way.
#[derive(Clone, Copy)]
pub(crate) struct Mac([u8; Mac::LEN]);

impl Mac {
    pub(crate) const LEN: usize = 32;
    pub(crate) const HEX_LEN: usize = Self::LEN * 2;
    pub(crate) const BASE64_LEN: usize = Self::LEN.div_ceil(3) * 4;

    /// `v1,` and lower-case hex.
    pub(crate) fn cerebrium(&self) -> [u8; VERSION.len() + Self::HEX_LEN] {
        let mut text = [0; VERSION.len() + Self::HEX_LEN];
        let (version, digits) = text.split_at_mut(VERSION.len());
        version.copy_from_slice(VERSION.as_bytes());
        hex::encode_to_slice(self.0, digits).expect("the buffer has two digits for each byte");
        text
    }

    /// `v1,` and padded base64.
    pub(crate) fn standard(&self) -> [u8; VERSION.len() + Self::BASE64_LEN] {
        let mut text = [0; VERSION.len() + Self::BASE64_LEN];
        let (version, digits) = text.split_at_mut(VERSION.len());
        version.copy_from_slice(VERSION.as_bytes());
        BASE64
            .encode_slice(self.0, digits)
            .expect("the buffer has four digits for three bytes");
        text
    }

    /// Compares in constant time.
    pub(crate) fn matches(&self, claimed: [u8; Self::LEN]) -> bool {
        type Output = CtOutput<Hmac<Sha256>>;
        Output::new(self.0.into()) == Output::new(claimed.into())
    }
}

/// What is signed before the body.
pub(crate) fn head(id: &[u8], timestamp: u64) -> Vec<u8> {
    let timestamp = itoa::Buffer::new().format(timestamp).to_owned();
    [id, b".", timestamp.as_bytes(), b"."].concat()
}

/// The signature of one attempt with one key of the service's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ed25519Signature(pub(crate) [u8; Ed25519Signature::LEN]);

impl Ed25519Signature {
    pub(crate) const LEN: usize = 64;
    pub(crate) const BASE64_LEN: usize = Self::LEN.div_ceil(3) * 4;
    pub(crate) const TEXT_LEN: usize = KEY_VERSION.len() + Self::BASE64_LEN;

    /// `v1a,` and padded base64.
    pub(crate) fn text(&self) -> [u8; Self::TEXT_LEN] {
        let mut text = [0; Self::TEXT_LEN];
        let (version, digits) = text.split_at_mut(KEY_VERSION.len());
        version.copy_from_slice(KEY_VERSION.as_bytes());
        BASE64
            .encode_slice(self.0, digits)
            .expect("the buffer has four digits for three bytes");
        text
    }
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;
