//! Who may read the files.

use std::path::Path;

#[cfg(unix)]
pub(crate) fn warn_if_open_to_others(path: &Path) {
    use std::{fs, os::unix::fs::MetadataExt};

    use crate::open_files::{BESIDE, beside};

    // Its other files are beside what a link leads to.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let others = BESIDE.map(|suffix| beside(&path, suffix));
    let ours = our_user();
    let names = ["database", "write-ahead log", "shared memory"];
    for (name, path) in names.iter().zip([path].iter().chain(&others)) {
        let Ok(file) = fs::metadata(path) else {
            continue;
        };
        if file.mode() & 0o077 != 0 {
            tracing::warn!(
                file = name,
                "others than its owner may read or write a file of the SQLite outbox"
            );
        }
        // Root may read everything anyway.
        if file.uid() != 0 && ours.is_some_and(|ours| ours != file.uid()) {
            tracing::warn!(
                file = name,
                "a file of the SQLite outbox belongs to another user"
            );
        }
    }
}

#[cfg(not(unix))]
pub(crate) fn warn_if_open_to_others(_: &Path) {}

/// A new pipe belongs to whoever makes it.
#[cfg(unix)]
fn our_user() -> Option<u32> {
    use std::{
        fs::File,
        os::{fd::OwnedFd, unix::fs::MetadataExt},
    };
    let (pipe, _) = std::io::pipe().ok()?;
    let pipe = File::from(OwnedFd::from(pipe)).metadata().ok()?;
    Some(pipe.uid())
}
