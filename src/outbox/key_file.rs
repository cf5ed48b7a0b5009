use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read, Write},
    path::Path,
};

use chacha20poly1305::aead::Generate;
use zeroize::Zeroizing;

use super::{SealingKey, SealingKeyError, key::LEN};

impl SealingKey {
    /// The key in this file: 32 bytes, or 64 hexadecimal digits with or without a line end.
    ///
    /// # Errors
    ///
    /// When it cannot be read or holds anything else.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, SealingKeyError> {
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
        let key = parse(&text).ok_or_else(SealingKeyError::not_a_key)?;
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
        if path.try_exists().map_err(failed)? {
            return Self::from_file(path);
        }
        // Under another name until it is whole: nobody finds half a key, not after a crash either.
        let mut new = path.to_owned().into_os_string();
        new.push(format!(".new-{:016x}", fastrand::u64(..)));
        let key = create(new.as_ref()).and_then(|bytes| match fs::hard_link(&new, path) {
            Ok(()) => Ok(Self::of(bytes)),
            // Another process was faster.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Self::from_file(path),
            Err(error) => Err(failed(error)),
        });
        let _ = fs::remove_file(&new);
        if key.is_ok() {
            sync_folder(path);
        }
        key
    }
}

/// So that a new file's name survives a loss of power, too.
fn sync_folder(path: &Path) {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    if cfg!(unix)
        && let Err(error) = File::open(folder).and_then(|folder| folder.sync_all())
    {
        tracing::warn!(%error, "the folder of the key file could not be synced");
    }
}

/// A new random key, on the disk under this name: what is sealed with it may be on the disk soon.
fn create(path: &Path) -> Result<Zeroizing<[u8; LEN]>, SealingKeyError> {
    let bytes = Zeroizing::new(
        <[u8; LEN]>::try_generate().map_err(|error| failed(std::io::Error::other(error)))?,
    );
    let text = Zeroizing::new(hex::encode(*bytes) + "\n");
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    Ok(bytes)
}

fn failed(error: std::io::Error) -> SealingKeyError {
    SealingKeyError::io(error)
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
    let Ok(file) = file.metadata() else { return };
    if file.mode() & 0o077 != 0 {
        tracing::warn!("others than its owner may read the key file");
    }
    // Root may read everything anyway.
    if file.uid() != 0 && our_user().is_some_and(|ours| ours != file.uid()) {
        tracing::warn!("the key file belongs to another user");
    }
}

/// A new pipe belongs to whoever makes it.
#[cfg(unix)]
fn our_user() -> Option<u32> {
    use std::os::{fd::OwnedFd, unix::fs::MetadataExt};
    let (pipe, _) = std::io::pipe().ok()?;
    let pipe = File::from(OwnedFd::from(pipe)).metadata().ok()?;
    Some(pipe.uid())
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
