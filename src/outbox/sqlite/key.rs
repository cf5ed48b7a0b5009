use std::{fmt, sync::Arc};

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Generate, Payload},
};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{SqliteOutboxError, SqliteOutboxErrorKind};
use crate::{RequestId, Secret};

pub(super) const LEN: usize = 32;
const NONCE_LEN: usize = 24;

/// Seals the secrets of deliveries that wait in a file: XChaCha20-Poly1305 under a key of 32
/// random bytes, bound to the delivery's id.
///
/// Each sealed secret has the name of its key beside it, so keys can be changed: give every
/// process the new key as an [older one](Self::with_older_key) first, then make it the key, and
/// leave the old one out once nothing that it has sealed waits any more.
///
/// Clones share one copy, which is overwritten with zeros when the last of them is dropped.
///
/// ```
/// use tower_webhook::outbox::sqlite::SealingKey;
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
    name: Arc<str>,
    bytes: Arc<Zeroizing<[u8; LEN]>>,
}

/// A sealed secret and the name of the key that opens it.
pub(super) struct Sealed {
    pub(super) bytes: Vec<u8>,
    pub(super) key: Arc<str>,
}

impl SealingKey {
    /// A key of 32 bytes, which have to be random: a password is no key.
    #[must_use]
    pub fn from_bytes(bytes: [u8; LEN]) -> Self {
        Self::of(Zeroizing::new(bytes))
    }

    /// Also opens what this key has sealed. New secrets are never sealed with it.
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
        self.keys.iter().any(|key| &*key.name == name)
    }

    pub(super) fn seal(
        &self,
        secret: &Secret,
        id: &RequestId,
    ) -> Result<Sealed, SqliteOutboxError> {
        let key = &self.keys[0];
        let nonce = XNonce::try_generate().map_err(random_failed)?;
        let sealed = cipher(key)
            .encrypt(&nonce, bound_to(secret.expose(), id))
            .map_err(|_too_long| SqliteOutboxErrorKind::TooLarge)?;
        let mut bytes = Vec::with_capacity(NONCE_LEN + sealed.len());
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(&sealed);
        Ok(Sealed {
            bytes,
            key: Arc::clone(&key.name),
        })
    }

    /// `None` when the key is not known or the bytes are not what it has sealed for this id.
    pub(super) fn open(&self, sealed: &[u8], key: &str, id: &RequestId) -> Option<Secret> {
        let key = self.keys.iter().find(|known| &*known.name == key)?;
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let secret = cipher(key).decrypt(&XNonce::from(*nonce), bound_to(sealed, id));
        Some(Secret::new(&*Zeroizing::new(secret.ok()?)))
    }
}

fn cipher(key: &Key) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new((&**key.bytes).into())
}

fn bound_to<'a>(msg: &'a [u8], id: &'a RequestId) -> Payload<'a, 'a> {
    Payload {
        msg,
        aad: id.as_str().as_bytes(),
    }
}

/// Says nothing of the key to whoever does not have it.
fn name_of(key: &[u8; LEN]) -> Arc<str> {
    let mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(key)
        .expect("HMAC takes keys of any length")
        .chain_update(b"tower-webhook: name of a sealing key")
        .finalize();
    hex::encode(&mac.into_bytes()[..8]).into()
}

pub(super) fn random_failed(
    error: impl std::error::Error + Send + Sync + 'static,
) -> SqliteOutboxError {
    SqliteOutboxError::with_source(SqliteOutboxErrorKind::Other, error)
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.keys.iter().map(|key| &key.name);
        f.debug_list().entries(names).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: &str) -> RequestId {
        RequestId::parse(id).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_with_its_key_and_for_its_id_alone() {
        let (old, new) = (
            SealingKey::from_bytes([1; 32]),
            SealingKey::from_bytes([2; 32]),
        );
        let secret = Secret::new("hush");
        let sealed = old.seal(&secret, &id("a")).unwrap();
        let again = old.seal(&secret, &id("a")).unwrap();
        assert_ne!(sealed.bytes, again.bytes, "a nonce is used once");

        let open = |key: &SealingKey, bytes: &[u8], for_id: &str| {
            let secret = key.open(bytes, &sealed.key, &id(for_id))?;
            Some(secret.expose().to_vec())
        };
        assert_eq!(open(&old, &sealed.bytes, "a").unwrap(), b"hush");
        assert_eq!(open(&old, &sealed.bytes, "b"), None);
        assert_eq!(open(&old, &sealed.bytes[..30], "a"), None);
        assert_eq!(open(&old, &[], "a"), None);
        assert_eq!(open(&new, &sealed.bytes, "a"), None);
        let rotated = new.with_older_key(old);
        assert_eq!(open(&rotated, &sealed.bytes, "a").unwrap(), b"hush");
        assert_ne!(rotated.seal(&secret, &id("a")).unwrap().key, sealed.key);
    }

    #[test]
    fn debug_shows_the_name_only() {
        let shown = format!("{:?}", SealingKey::from_bytes([0xab; 32]));
        assert!(!shown.contains("171") && !shown.contains("abab"), "{shown}");
    }
}
