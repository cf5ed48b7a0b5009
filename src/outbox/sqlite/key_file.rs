use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    path::Path,
};

use chacha20poly1305::aead::Generate;
use zeroize::Zeroizing;

use super::{
    SealingKey, SqliteOutboxError, SqliteOutboxErrorKind,
    key::{LEN, random_failed},
};

impl SealingKey {
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

#[cfg(unix)]
fn warn_if_open_to_others(file: &File) {
    use std::os::unix::fs::MetadataExt;
    if file.metadata().is_ok_and(|file| file.mode() & 0o077 != 0) {
        tracing::warn!("others than its owner may read the key file of the SQLite outbox");
    }
}

#[cfg(not(unix))]
fn warn_if_open_to_others(_: &File) {}

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
