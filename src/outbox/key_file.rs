use std::{io, path::Path};

use chacha20poly1305::aead::Generate;
use zeroize::Zeroizing;

use super::{SealingKey, SealingKeyError, key::LEN};
use crate::key_file;

impl SealingKey {
    /// The key in this file: 32 bytes, or 64 hexadecimal digits with or without a line end.
    ///
    /// # Errors
    ///
    /// When it cannot be read or holds anything else.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, SealingKeyError> {
        // One byte more than any key: a longer file is not read to its end.
        let contents = key_file::read(path.as_ref(), 2 * LEN + 3).map_err(SealingKeyError::io)?;
        let key = parse(&contents).ok_or_else(SealingKeyError::not_a_key)?;
        Ok(Self::of(key))
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
    pub fn from_file_or_new(path: impl AsRef<Path>) -> Result<Self, SealingKeyError> {
        let path = path.as_ref();
        if path.try_exists().map_err(SealingKeyError::io)? {
            key_file::keep(path);
            return Self::from_file(path);
        }
        let key = <[u8; LEN]>::try_generate().map_err(io::Error::other);
        let key = Zeroizing::new(key.map_err(SealingKeyError::io)?);
        let text = Zeroizing::new(hex::encode(*key) + "\n");
        match key_file::create(path, text.as_bytes()).map_err(SealingKeyError::io)? {
            true => Ok(Self::of(key)),
            false => Self::from_file(path),
        }
    }
}

fn parse(text: &[u8]) -> Option<Zeroizing<[u8; LEN]>> {
    let mut key = Zeroizing::new([0; LEN]);
    if text.len() == LEN {
        key.copy_from_slice(text);
        return Some(key);
    }
    hex::decode_to_slice(key_file::line(text), &mut key[..]).ok()?;
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
