use std::{error::Error, fmt, io};

use tokio_postgres::{error::SqlState, types::WrongType};

/// Why the PostgreSQL outbox could not be opened, read or written.
///
/// `Display` and `Debug` show a fixed sentence and the server's [SQLSTATE](Self::sqlstate), never the
/// connection string, the server's message or anything of a delivery. The sentences may change; match on
/// [`kind`](Self::kind).
#[derive(Clone, Debug)]
pub struct PostgresOutboxError {
    kind: PostgresOutboxErrorKind,
    state: Option<String>,
    io: Option<io::ErrorKind>,
}

/// What a [`PostgresOutboxError`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PostgresOutboxErrorKind {
    /// Neither a key nor
    /// [`with_insecure_plaintext`](crate::PostgresOutboxBuilder::with_insecure_plaintext)
    /// was given.
    NoKey,
    /// Deliveries wait that are sealed with a key that was not given. See
    /// [`with_lost_keys`](crate::PostgresOutboxBuilder::with_lost_keys).
    UnknownKey,
    /// The connection string cannot be parsed or names no host.
    InvalidUrl,
    /// The schema's name is empty, longer than 63 bytes, has a NUL, or begins with `pg_`.
    InvalidSchemaName,
    /// The root certificates are not PEM, or there are none.
    InvalidRoots,
    /// The server cannot be reached, has closed the connection, or has no free connection.
    Unavailable,
    /// Too many administrative calls wait for their turn.
    Busy,
    /// TLS failed: the server does not support it, or its certificate is not trusted.
    Tls,
    /// Authentication failed, the database does not exist, or the user lacks a privilege.
    Refused,
    /// The server is read-only: a standby, or in recovery.
    ReadOnly,
    /// No response within the [timeout](crate::PostgresOutboxBuilder::with_timeout).
    TimedOut,
    /// The server's disk is full.
    Full,
    /// The schema was migrated by a newer version of this crate.
    NewerSchema,
    /// The schema is not there, or lacks migrations: it was dropped, or
    /// [`without_migrations`](crate::PostgresOutboxBuilder::without_migrations) was set.
    OlderSchema,
    /// The schema contains a table of another application with the name of one of ours, or one of ours was
    /// dropped or altered.
    Foreign,
    /// The delivery exceeds a limit of the server.
    TooLarge,
    /// The outbox's thread has ended after a panic.
    Gone,
    /// Any other error.
    Other,
}

use PostgresOutboxErrorKind as Kind;

impl PostgresOutboxError {
    /// What it is about.
    #[must_use]
    pub fn kind(&self) -> PostgresOutboxErrorKind {
        self.kind
    }

    /// The five-character SQLSTATE, if the server reported the error.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// Whether the transaction may succeed when repeated: a deadlock or a serialization failure.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self.sqlstate(), Some("40001" | "40P01"))
    }

    fn sentence(&self) -> &'static str {
        match self.kind {
            Kind::NoKey => {
                "the PostgreSQL outbox needs a key to seal deliveries with, or to be told to keep them in the clear"
            }
            Kind::UnknownKey => {
                "deliveries wait in the PostgreSQL outbox that are sealed with a key that was not given"
            }
            Kind::InvalidUrl => "the connection string of the PostgreSQL outbox cannot be read",
            Kind::InvalidSchemaName => "the schema of the PostgreSQL outbox cannot have that name",
            Kind::InvalidRoots => "the root certificates of the PostgreSQL outbox cannot be read",
            Kind::Unavailable => "the PostgreSQL server cannot be reached",
            Kind::Busy => "too many calls of the PostgreSQL outbox wait for their turn",
            Kind::Tls => "the PostgreSQL server cannot be reached over TLS",
            Kind::Refused => "the PostgreSQL server refuses the user or what it wants to do",
            Kind::ReadOnly => "the PostgreSQL server only reads",
            Kind::TimedOut => "the PostgreSQL server did not answer in time",
            Kind::Full => "the disk of the PostgreSQL server is full",
            Kind::NewerSchema => {
                "the PostgreSQL outbox was migrated by a newer version of tower-webhook"
            }
            Kind::OlderSchema => "the PostgreSQL outbox lacks migrations",
            Kind::Foreign => "the schema of the PostgreSQL outbox holds tables of something else",
            Kind::TooLarge => "the delivery is too large for PostgreSQL",
            Kind::Gone => "the thread of the PostgreSQL outbox has ended",
            Kind::Other => "the PostgreSQL outbox failed",
        }
    }
}

impl fmt::Display for PostgresOutboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())?;
        match (&self.state, self.io) {
            (Some(state), _) => write!(f, " (SQLSTATE {state})"),
            (None, Some(io)) => write!(f, " ({io})"),
            (None, None) => Ok(()),
        }
    }
}

impl Error for PostgresOutboxError {}

impl From<Kind> for PostgresOutboxError {
    fn from(kind: Kind) -> Self {
        Self {
            kind,
            state: None,
            io: None,
        }
    }
}

impl From<tokio_postgres::Error> for PostgresOutboxError {
    fn from(error: tokio_postgres::Error) -> Self {
        if let Some(state) = error.code() {
            return Self {
                kind: kind_of(state),
                state: Some(state.code().to_owned()),
                io: None,
            };
        }
        let io = io_of(&error);
        let kind = match io {
            _ if error
                .source()
                .is_some_and(|source| source.is::<WrongType>()) =>
            {
                Kind::Foreign
            }
            _ if error.to_string().contains("TLS") => Kind::Tls,
            Some(io::ErrorKind::TimedOut) => Kind::TimedOut,
            Some(io::ErrorKind::PermissionDenied) if is_read_only(&error) => Kind::ReadOnly,
            Some(_) => Kind::Unavailable,
            None if error.is_closed() => Kind::Unavailable,
            // Without a SQLSTATE it is a connection error, or a bug.
            None => match error.to_string().contains("connecting") {
                true => Kind::Unavailable,
                false => Kind::Other,
            },
        };
        Self {
            kind,
            state: None,
            io,
        }
    }
}

/// Whether the driver was told to find a host that takes writes, and this one does not.
fn is_read_only(error: &tokio_postgres::Error) -> bool {
    let source = error.source();
    source.is_some_and(|source| source.to_string().contains("does not allow writes"))
}

fn io_of(error: &tokio_postgres::Error) -> Option<io::ErrorKind> {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        source = error.source();
    }
    None
}

fn kind_of(state: &SqlState) -> Kind {
    match state.code() {
        "25006" => Kind::ReadOnly,
        "53100" => Kind::Full,
        "57014" | "55P03" | "25P03" => Kind::TimedOut,
        "54000" => Kind::TooLarge,
        "42501" | "3D000" => Kind::Refused,
        // A table that exists, an undefined column, or one of another type.
        "42P07" | "42P16" | "42703" | "42804" => Kind::Foreign,
        // An undefined table or schema.
        "42P01" | "3F000" => Kind::OlderSchema,
        code if code.starts_with("28") => Kind::Refused,
        code if code.starts_with("08") || code.starts_with("57P") || code == "53300" => {
            Kind::Unavailable
        }
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_it_is_about_and_nothing_else() {
        let refused = PostgresOutboxError {
            kind: kind_of(&SqlState::INVALID_PASSWORD),
            state: Some("28P01".to_owned()),
            io: None,
        };
        assert_eq!(refused.kind(), Kind::Refused);
        assert_eq!(refused.sqlstate(), Some("28P01"));
        let sentence = "the PostgreSQL server refuses the user or what it wants to do";
        assert_eq!(refused.to_string(), format!("{sentence} (SQLSTATE 28P01)"));
    }
}
