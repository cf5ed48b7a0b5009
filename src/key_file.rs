//! A file that holds a key: read whole, or made whole, for its owner alone.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    path::Path,
};

use zeroize::Zeroizing;

/// What is in this file, up to so many bytes. Whoever wants to tell that it is longer than any key asks
/// for one byte more.
pub(crate) fn read(path: &Path, most: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path)?;
    warn_if_open_to_others(&file);
    // Of its whole size from the beginning: growing would leave copies.
    let mut contents = Zeroizing::new(vec![0; most]);
    let mut len = 0;
    while len < most {
        match (&file).read(&mut contents[len..]) {
            Ok(0) => break,
            Ok(some) => len += some,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    contents.truncate(len);
    Ok(contents)
}

/// Makes this file unless there is one, and says whether it did. What is sealed or signed with the key
/// may soon be on a disk or with others, so the file is on the disk by then.
pub(crate) fn create(path: &Path, contents: &[u8]) -> io::Result<bool> {
    // Under another name until it is whole: nobody finds half a key, not after a crash either.
    let mut new = path.to_owned().into_os_string();
    new.push(format!(".new-{:016x}", fastrand::u64(..)));
    let written = write(new.as_ref(), contents);
    let is_ours = written.and_then(|()| match fs::hard_link(&new, path) {
        Ok(()) => Ok(true),
        // Another process was faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    });
    let _ = fs::remove_file(&new);
    if is_ours.is_ok()
        && let Err(error) = sync_folders(path)
    {
        tracing::warn!(%error, "the folder of the key file could not be synced");
    }
    is_ours
}

/// Has a file that was found survive a loss of power: whoever made it may have been killed before it had
/// synced the folder.
pub(crate) fn keep(path: &Path) {
    // What may not be synced here, in a read-only file system say, was not made a moment ago.
    let _ = sync_folders(path);
}

/// A text without its line end.
pub(crate) fn line(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.strip_suffix(b"\r").unwrap_or(text)
}

fn write(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(contents)?;
    file.sync_all()
}

/// So that a new file's name survives a loss of power, too, and that of its folder, which may be as new.
fn sync_folders(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    if !cfg!(unix) {
        return Ok(());
    }
    let sync = |folder: &Path| File::open(folder)?.sync_all();
    sync(folder)?;
    // Those above that may not be read are others', and have been there for long.
    let folder = folder.canonicalize()?;
    let _ = folder.ancestors().skip(1).try_for_each(sync);
    Ok(())
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
