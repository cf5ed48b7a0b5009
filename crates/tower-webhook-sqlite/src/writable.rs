use std::{io, path::Path, time::Duration};

use rusqlite::{Connection, MAIN_DB};

use crate::{SqliteOutboxError, SqliteOutboxErrorKind as Kind, room, schema::pragma, turns::Turns};

/// A file that is there and can only be read is told apart from one that cannot be opened.
///
/// It is not opened for that: where a process closes a file, it loses all locks that it has on it (POSIX), those of
/// another outbox as well, and other processes take that one for gone.
#[cfg(unix)]
pub(crate) fn refuse_read_only(path: &Path) -> Result<(), SqliteOutboxError> {
    match rustix::fs::access(path, rustix::fs::Access::WRITE_OK).map_err(io::Error::from) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
            ) && path.is_file() =>
        {
            Err(SqliteOutboxError::with_source(Kind::ReadOnly, error))
        }
        _ => Ok(()),
    }
}

#[cfg(not(unix))]
pub(crate) fn refuse_read_only(path: &Path) -> Result<(), SqliteOutboxError> {
    match std::fs::metadata(path) {
        Ok(file) if file.is_file() && file.permissions().readonly() => Err(Kind::ReadOnly.into()),
        _ => Ok(()),
    }
}

/// Writes to the file what is there already: SQLite opens one that can only be read without a word.
///
/// A full disk is no reason to refuse it: what is in the file is to be delivered.
pub(crate) fn check(conn: &Connection, lock_timeout: Duration) -> Result<(), SqliteOutboxError> {
    if conn.is_readonly(MAIN_DB)? {
        return Err(Kind::ReadOnly.into());
    }
    let mut turns = Turns::new(lock_timeout);
    turns.wait_for(|| conn.execute_batch("BEGIN IMMEDIATE"))?;
    let version = pragma(conn, "user_version")?;
    let written = conn
        .pragma_update(None, "user_version", version)
        .and_then(|()| conn.execute_batch("COMMIT"));
    if written.is_err() && !conn.is_autocommit() {
        conn.execute_batch("ROLLBACK")?;
    }
    match written {
        Err(error) if !room::is_full(&error) => Err(error.into()),
        Err(error) => {
            tracing::error!(%error, "the disk of the SQLite outbox is full");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}
