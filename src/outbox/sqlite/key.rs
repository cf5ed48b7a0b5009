use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{Read, Write},
    path::Path,
    sync::Arc,
};

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Generate, Payload},
};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{SqliteOutboxError, SqliteOutboxErrorKind};
use crate::{RequestId, Secret};

const LEN: usize = 32;
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

    /// The key in this file: 32 bytes, or 64 hexadecimal digits with or without a line end.
    ///
    /// # Errors
    ///
    /// [`KeyFile`](SqliteOutboxErrorKind::KeyFile) when it cannot be read or holds anything else.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, SqliteOutboxError> {
        let kind = SqliteOutboxErrorKind::KeyFile;
        let failed = |error| SqliteOutboxError::with_source(kind, error);
        // One byte more than any key: a longer file is not read to its end.
        let mut read = Zeroizing::new([0; 2 * LEN + 3]);
        let file = File::open(path).map_err(failed)?;
        warn_if_open_to_others(&file);
        let mut text = Zeroizing::new(Vec::with_capacity(read.len()));
        let len = read.len();
        let mut limited = file.take(len as u64);
        loop {
            match limited.read(&mut read[..]).map_err(failed)? {
                0 => break,
                some => text.extend_from_slice(&read[..some]),
            }
        }
        parse(&text).map(Self::of).ok_or(kind.into())
    }

    /// The key in this file, or a new random one if there is no such file: it is then created, for
    /// its owner alone.
    ///
    /// Keep the key with the other secrets of the deployment, and not in the backup of the outbox:
    /// without it no waiting delivery can be signed.
    ///
    /// # Errors
    ///
    /// As [`from_file`](Self::from_file), and when the file cannot be created.
    pub fn from_file_or_new(path: impl AsRef<Path>) -> Result<Self, SqliteOutboxError> {
        let path = path.as_ref();
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.open(path) {
            Ok(mut file) => {
                let failed =
                    |error| SqliteOutboxError::with_source(SqliteOutboxErrorKind::KeyFile, error);
                let bytes = Zeroizing::new(<[u8; LEN]>::try_generate().map_err(random_failed)?);
                let text = Zeroizing::new(hex::encode(*bytes) + "\n");
                file.write_all(text.as_bytes()).map_err(failed)?;
                // What is sealed may be on the disk before the next write-back would be.
                file.sync_all().map_err(failed)?;
                super::schema::sync_folder(path);
                Ok(Self::of(bytes))
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Self::from_file(path)
            }
            Err(error) => Err(SqliteOutboxError::with_source(
                SqliteOutboxErrorKind::KeyFile,
                error,
            )),
        }
    }

    /// Also opens what this key has sealed. New secrets are never sealed with it.
    #[must_use]
    pub fn with_older_key(mut self, older: Self) -> Self {
        self.keys.extend(older.keys);
        self
    }

    fn of(bytes: Zeroizing<[u8; LEN]>) -> Self {
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

fn parse(text: &[u8]) -> Option<Zeroizing<[u8; LEN]>> {
    let mut key = Zeroizing::new([0; LEN]);
    if text.len() == LEN {
        key.copy_from_slice(text);
        return Some(key);
    }
    let digits = text.strip_suffix(b"\n").unwrap_or(text);
    let digits = digits.strip_suffix(b"\r").unwrap_or(digits);
    hex::decode_to_slice(digits, &mut key[..]).ok()?;
    Some(key)
}

fn random_failed(error: impl std::error::Error + Send + Sync + 'static) -> SqliteOutboxError {
    SqliteOutboxError::with_source(SqliteOutboxErrorKind::Other, error)
}

#[cfg(unix)]
fn warn_if_open_to_others(file: &File) {
    use std::os::unix::fs::MetadataExt;
    if file.metadata().is_ok_and(|file| file.mode() & 0o077 != 0) {
        tracing::warn!("others than its owner may read the key file of the SQLite outbox");
    }
}

#[cfg(not(unix))]
fn warn_if_open_to_others(_: &File) {}

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
    fn a_key_is_32_bytes_or_64_digits() {
        let raw = [0xab; 32];
        let digits = "ab".repeat(32);
        let texts = [
            digits.clone(),
            digits.clone() + "\n",
            digits.to_uppercase() + "\r\n",
        ];
        assert_eq!(*parse(&raw).unwrap(), raw);
        for text in texts {
            assert_eq!(*parse(text.as_bytes()).unwrap(), raw);
        }
        for text in ["", "ab", &"a".repeat(63), &"x".repeat(64), &"ab".repeat(33)] {
            assert!(parse(text.as_bytes()).is_none(), "{text:?}");
        }
    }

    #[test]
    fn debug_shows_the_name_only() {
        let shown = format!("{:?}", SealingKey::from_bytes([0xab; 32]));
        assert!(!shown.contains("171") && !shown.contains("abab"), "{shown}");
    }
}
