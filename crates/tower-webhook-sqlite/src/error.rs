use std::{error::Error, fmt, sync::Arc};

use rusqlite::ErrorCode;

/// Why the SQLite outbox could not be opened, read or written.
///
/// It shows neither the path nor anything of a delivery; its [`source`](Error::source), which is
/// SQLite's own error where there is one, may name the path. The sentences may change; to tell
/// errors apart in code, use [`kind`](Self::kind).
#[derive(Clone)]
pub struct SqliteOutboxError {
    kind: SqliteOutboxErrorKind,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// What a [`SqliteOutboxError`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SqliteOutboxErrorKind {
    /// Neither a key nor
    /// [`with_insecure_plaintext`](crate::SqliteOutboxBuilder::with_insecure_plaintext)
    /// was given.
    NoKey,
    /// Deliveries wait that are sealed with a key that was not given. See
    /// [`with_lost_keys`](crate::SqliteOutboxBuilder::with_lost_keys).
    UnknownKey,
    /// The file cannot be opened or created: its folder is missing or not writable.
    CannotOpen,
    /// The file or its folder can only be read.
    ReadOnly,
    /// Another connection held the file's lock for too long.
    Locked,
    /// The file is not a SQLite database.
    NotADatabase,
    /// The file is the SQLite database of something else.
    Foreign,
    /// The file was written by a newer version of this crate.
    NewerSchema,
    /// The file was written by a version of this crate from before its first release.
    OlderSchema,
    /// The file's schema is not the one that this crate creates: it has a trigger, a view, another
    /// index or another column, or lacks something. The [source](Error::source) says which. It
    /// was changed by somebody who can write the file.
    ChangedSchema,
    /// The file, or its write-ahead log, was deleted or replaced while it was open. Nothing new is
    /// put into it; what is in it is delivered for as long as the process lives.
    Replaced,
    /// The file is damaged or cut short, or gone while its write-ahead log is not.
    Corrupt,
    /// The file system cannot do what write-ahead logging needs, as is so with network shares.
    NoWal,
    /// The disk is full, or the file has its
    /// [largest size](crate::SqliteOutboxBuilder::with_max_file_size).
    Full,
    /// The disk failed to read or write.
    Io,
    /// The delivery is larger than SQLite can keep.
    TooLarge,
    /// The outbox's thread has ended, after a panic.
    Gone,
    /// Something else.
    Other,
}

impl SqliteOutboxError {
    pub(crate) fn new(kind: SqliteOutboxErrorKind) -> Self {
        Self { kind, source: None }
    }

    pub(crate) fn with_source(
        kind: SqliteOutboxErrorKind,
        source: impl Error + Send + Sync + 'static,
    ) -> Self {
        Self {
            kind,
            source: Some(Arc::new(source)),
        }
    }

    /// What it is about.
    #[must_use]
    pub fn kind(&self) -> SqliteOutboxErrorKind {
        self.kind
    }

    fn sentence(&self) -> &'static str {
        match self.kind {
            SqliteOutboxErrorKind::NoKey => {
                "the SQLite outbox needs a key to seal deliveries with, or to be told to keep them in the clear"
            }
            SqliteOutboxErrorKind::UnknownKey => {
                "deliveries wait in the SQLite outbox that are sealed with a key that was not given"
            }
            SqliteOutboxErrorKind::CannotOpen => "the SQLite outbox cannot be opened or created",
            SqliteOutboxErrorKind::ReadOnly => "the SQLite outbox cannot be written",
            SqliteOutboxErrorKind::Locked => "the SQLite outbox is locked by another connection",
            SqliteOutboxErrorKind::NotADatabase => "the file is not a SQLite database",
            SqliteOutboxErrorKind::Foreign => "the file is the SQLite database of something else",
            SqliteOutboxErrorKind::NewerSchema => {
                "the SQLite outbox was written by a newer version of tower-webhook"
            }
            SqliteOutboxErrorKind::OlderSchema => {
                "the SQLite outbox was written by a version from before the first release"
            }
            SqliteOutboxErrorKind::ChangedSchema => {
                "the schema of the SQLite outbox is not the one that it was created with"
            }
            SqliteOutboxErrorKind::Replaced => {
                "the SQLite outbox, or its log, was deleted or replaced while it was open"
            }
            SqliteOutboxErrorKind::Corrupt => "the SQLite outbox is damaged",
            SqliteOutboxErrorKind::NoWal => {
                "the file system of the SQLite outbox does not do write-ahead logging"
            }
            SqliteOutboxErrorKind::Full => "the disk is full, or the SQLite outbox is",
            SqliteOutboxErrorKind::Io => "the disk of the SQLite outbox failed",
            SqliteOutboxErrorKind::TooLarge => "the delivery is too large for SQLite",
            SqliteOutboxErrorKind::Gone => "the thread of the SQLite outbox has ended",
            SqliteOutboxErrorKind::Other => "the SQLite outbox failed",
        }
    }
}

/// Whether it may be the fault of the one row that was read or written, and of no other.
pub(crate) fn is_of_a_row(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::ConstraintViolation
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::TypeMismatch
                | ErrorCode::TooBig
                // An expression in the schema that fails, among others.
                | ErrorCode::Unknown
        )
    )
}

impl From<rusqlite::Error> for SqliteOutboxError {
    fn from(error: rusqlite::Error) -> Self {
        use SqliteOutboxErrorKind as Kind;
        let kind = match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Kind::Locked,
            Some(ErrorCode::CannotOpen) => Kind::CannotOpen,
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Kind::ReadOnly,
            Some(ErrorCode::NotADatabase) => Kind::NotADatabase,
            Some(ErrorCode::DatabaseCorrupt) => Kind::Corrupt,
            Some(ErrorCode::DiskFull) => Kind::Full,
            Some(ErrorCode::SystemIoFailure) => Kind::Io,
            Some(ErrorCode::TooBig) => Kind::TooLarge,
            _ => Kind::Other,
        };
        Self::with_source(kind, error)
    }
}

impl From<SqliteOutboxErrorKind> for SqliteOutboxError {
    fn from(kind: SqliteOutboxErrorKind) -> Self {
        Self::new(kind)
    }
}

impl fmt::Display for SqliteOutboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

impl fmt::Debug for SqliteOutboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SqliteOutboxError")
            .field(&self.kind)
            .finish()
    }
}

impl Error for SqliteOutboxError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.source {
            Some(source) => Some(&**source),
            None => None,
        }
    }
}
