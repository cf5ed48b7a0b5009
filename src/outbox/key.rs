use std::{error::Error, fmt, sync::Arc};

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Generate, Payload},
};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{
    codec::{KeyName, NAME_LEN},
    sealing::Unreadable,
};
use crate::{error::BoxError, id::DeliveryId};

pub(super) const LEN: usize = 32;
const NONCE_LEN: usize = 24;

/// Seals deliveries that wait in a durable outbox: XChaCha20-Poly1305 under a key of 32 random
/// bytes, bound to the delivery's id.
///
/// Each sealed delivery has the name of its key beside it, so keys can be changed: give every
/// process the new key as an [older one](Self::with_older_key) first, then make it the key, and
/// leave the old one out once nothing that it has sealed waits any more.
///
/// Clones share one copy, which is overwritten with zeros when the last of them is dropped.
///
/// ```
/// use tower_webhook::outbox::SealingKey;
///
/// # let (new, old) = ([7; 32], [3; 32]);
/// let key = SealingKey::from_bytes(new).with_older_key(SealingKey::from_bytes(old));
/// ```
#[derive(Clone)]
pub struct SealingKey {
    /// Never empty: the first one seals.
    keys: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    name: KeyName,
    bytes: Arc<Zeroizing<[u8; LEN]>>,
}

/// Why a [`SealingKey`] could not be had from a file. It shows neither the path nor the key.
#[derive(Debug)]
pub struct SealingKeyError {
    source: Option<std::io::Error>,
}

impl SealingKey {
    /// A key of 32 bytes, which have to be random: a password is no key.
    #[must_use]
    pub fn from_bytes(bytes: [u8; LEN]) -> Self {
        Self::of(Zeroizing::new(bytes))
    }

    /// Also opens what this key has sealed. New deliveries are never sealed with it.
    #[must_use]
    pub fn with_older_key(mut self, older: Self) -> Self {
        self.keys.extend(older.keys);
        self
    }

    pub(super) fn of(bytes: Zeroizing<[u8; LEN]>) -> Self {
        let key = Key {
            name: name_of(&bytes),
            bytes: Arc::new(bytes),
        };
        Self { keys: vec![key] }
    }

    pub(super) fn knows(&self, name: &str) -> bool {
        self.keys.iter().any(|key| hex::encode(key.name) == name)
    }

    pub(super) fn seal(
        &self,
        contents: &[u8],
        id: DeliveryId,
    ) -> Result<(KeyName, Vec<u8>), BoxError> {
        let key = &self.keys[0];
        let nonce = XNonce::try_generate()?;
        let sealed = cipher(key)
            .encrypt(&nonce, bound_to(contents, &id.to_bytes()))
            .map_err(|_too_long| "the delivery is too large to be sealed")?;
        Ok((key.name, [&nonce[..], &sealed].concat()))
    }

    /// `None` when the bytes are not what the key has sealed for this id.
    pub(super) fn open(
        &self,
        sealed: &[u8],
        name: KeyName,
        id: DeliveryId,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Unreadable> {
        let key = self.keys.iter().find(|known| known.name == name);
        let key = key.ok_or(Unreadable::UnknownKey)?;
        let Some((nonce, sealed)) = sealed.split_first_chunk::<NONCE_LEN>() else {
            return Ok(None);
        };
        let id = id.to_bytes();
        let contents = cipher(key).decrypt(&XNonce::from(*nonce), bound_to(sealed, &id));
        Ok(contents.ok().map(Zeroizing::new))
    }
}

fn cipher(key: &Key) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new((&**key.bytes).into())
}

fn bound_to<'a>(msg: &'a [u8], id: &'a [u8; 16]) -> Payload<'a, 'a> {
    Payload { msg, aad: id }
}

/// Says nothing of the key to whoever does not have it.
fn name_of(key: &[u8; LEN]) -> KeyName {
    let mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key)
        .expect("HMAC takes keys of any length")
        .chain_update(b"tower-webhook: name of a sealing key")
        .finalize()
        .into_bytes();
    let mut name = [0; NAME_LEN];
    name.copy_from_slice(&mac[..NAME_LEN]);
    name
}

impl SealingKeyError {
    pub(super) fn not_a_key() -> Self {
        Self { source: None }
    }

    pub(super) fn io(error: std::io::Error) -> Self {
        Self {
            source: Some(error),
        }
    }
}

impl fmt::Display for SealingKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.source {
            Some(_) => "the key file cannot be read or created",
            None => "the key file holds neither 32 bytes nor 64 hexadecimal digits",
        })
    }
}

impl Error for SealingKeyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|error| error as _)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.keys.iter().map(|key| hex::encode(key.name));
        f.debug_list().entries(names).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_its_key_and_for_its_id_alone() {
        let (old, new) = (
            SealingKey::from_bytes([1; 32]),
            SealingKey::from_bytes([2; 32]),
        );
        let (a, b) = (DeliveryId::fresh(), DeliveryId::fresh());
        let (name, sealed) = old.seal(b"hush", a).unwrap();
        let (_, again) = old.seal(b"hush", a).unwrap();
        assert_ne!(sealed, again, "a nonce is used once");

        let open = |key: &SealingKey, bytes: &[u8], id| {
            key.open(bytes, name, id)
                .map(|found| found.map(|contents| contents.to_vec()))
        };
        assert_eq!(open(&old, &sealed, a), Ok(Some(b"hush".to_vec())));
        assert_eq!(open(&old, &sealed, b), Ok(None));
        assert_eq!(open(&old, &sealed[..30], a), Ok(None));
        assert_eq!(open(&old, &[], a), Ok(None));
        assert_eq!(open(&new, &sealed, a), Err(Unreadable::UnknownKey));
        let rotated = new.with_older_key(old);
        assert_eq!(open(&rotated, &sealed, a), Ok(Some(b"hush".to_vec())));
        assert_ne!(rotated.seal(b"hush", a).unwrap().0, name);
    }

    #[test]
    fn debug_shows_the_name_only() {
        let shown = format!("{:?}", SealingKey::from_bytes([0xab; 32]));
        assert!(!shown.contains("171") && !shown.contains("abab"), "{shown}");
    }
}
