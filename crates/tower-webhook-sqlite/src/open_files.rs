use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{SqliteOutboxError, SqliteOutboxErrorKind as Kind};

/// Which files the outbox has open. One that was deleted or replaced is still written to, and
/// nobody would ever find what is in it.
///
/// Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct OpenFiles {
    /// As SQLite names it: what it keeps beside a file is beside what a link leads to.
    database: Arc<PathBuf>,
    /// The database, by the path that was given, and those beside it.
    files: Arc<[OpenFile]>,
}

#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    identity: Identity,
}

/// The device and the number of the file on it.
#[cfg(unix)]
type Identity = (u64, u64);
/// A file that is open can be neither deleted nor replaced.
#[cfg(not(unix))]
type Identity = ();

/// What SQLite keeps beside a file.
pub(crate) const BESIDE: [&str; 2] = ["-wal", "-shm"];

impl OpenFiles {
    /// Once a connection has read something: only then are all of them there.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        let database = path.canonicalize()?;
        // The process may change its folder.
        let mut paths = vec![std::path::absolute(path)?];
        paths.extend(BESIDE.map(|suffix| beside(&database, suffix)));
        let open = |path: PathBuf| {
            let identity = identity(&path)?;
            Ok(OpenFile { path, identity })
        };
        Ok(Self {
            database: Arc::new(database),
            files: paths.into_iter().map(open).collect::<io::Result<_>>()?,
        })
    }

    pub(crate) fn database(&self) -> &Path {
        &self.database
    }

    pub(crate) fn log(&self) -> PathBuf {
        beside(&self.database, BESIDE[0])
    }

    /// An error once one of them is no longer at its path.
    pub(crate) fn check(&self) -> Result<(), SqliteOutboxError> {
        self.files.iter().try_for_each(OpenFile::check)
    }

    /// Looks at the database alone.
    pub(crate) fn check_database(&self) -> Result<(), SqliteOutboxError> {
        self.files.iter().take(1).try_for_each(OpenFile::check)
    }
}

impl OpenFile {
    fn check(&self) -> Result<(), SqliteOutboxError> {
        match identity(&self.path) {
            Ok(found) if found == self.identity => Ok(()),
            Ok(_) => Err(Kind::Replaced.into()),
            Err(error) => Err(SqliteOutboxError::with_source(Kind::Replaced, error)),
        }
    }
}

/// The path of what SQLite keeps beside this file.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(suffix);
    beside.into()
}

#[cfg(unix)]
fn identity(path: &Path) -> io::Result<Identity> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).map(|file| (file.dev(), file.ino()))
}

#[cfg(not(unix))]
fn identity(path: &Path) -> io::Result<Identity> {
    fs::metadata(path).map(drop)
}
