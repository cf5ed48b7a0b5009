//! Where an outbox is, and how it is opened.

use std::{
    error::Error,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use tower_webhook::outbox::{MemoryOutbox, SealingKey, SealingKeyError};
use tower_webhook_nats::JetStreamOutbox;
use tower_webhook_postgres::PostgresOutbox;
use tower_webhook_sqlite::SqliteOutbox;

use super::{nats::Nats, postgres::Postgres};

/// It may have a password in it, and is not shown.
#[derive(Clone)]
pub(super) enum OutboxUrl {
    Memory,
    Sqlite(PathBuf),
    Postgres(String),
    Nats(String),
}

/// More than there ever is.
pub(super) const ALL: usize = usize::MAX >> 2;
pub(super) const ALWAYS: Duration = Duration::from_secs(100 * 365 * 86_400);

/// What the options of one outbox begin with, for complaints.
pub(super) struct Settings<'a> {
    pub(super) option: &'static str,
    pub(super) key_file: Option<&'a Path>,
    pub(super) older_key_files: &'a [PathBuf],
    pub(super) ca_file: Option<&'a Path>,
    pub(super) schema: &'a str,
    pub(super) max_leased_per_host: Option<usize>,
    pub(super) replicas: usize,
    pub(super) credentials_file: Option<&'a Path>,
    pub(super) max_payload: usize,
}

/// What history is kept of what was delivered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum History {
    None,
    Records,
    Payloads,
    /// Whatever is there, for those who only look: they make no outbox and no key, and remove nothing.
    AsItIs,
}

pub(super) enum Opened {
    Memory(MemoryOutbox),
    Sqlite(SqliteOutbox),
    Postgres(PostgresOutbox),
    Nats(JetStreamOutbox),
}

impl Settings<'_> {
    /// A key that is not there is made; older ones must be.
    fn key(&self, file: &Path, history: History) -> Result<SealingKey, String> {
        let complain = |file: &Path, error: SealingKeyError| format!("{}: {error}", file.display());
        let key = match history {
            History::AsItIs => SealingKey::from_file(file),
            _ => SealingKey::from_file_or_new(file),
        };
        let key = key.map_err(|error| complain(file, error))?;
        self.older_key_files.iter().try_fold(key, |key, file| {
            let older = SealingKey::from_file(file).map_err(|error| complain(file, error))?;
            Ok(key.with_older_key(older))
        })
    }

    pub(super) fn postgres(&self, url: &str, history: History) -> Result<Postgres, String> {
        let option = self.option;
        let key_file = self.key_file.ok_or_else(|| {
            format!("{option} postgres://… needs {option}-key-file FILE, the same key everywhere")
        })?;
        let postgres = Postgres::new(url, self.schema, self.key(key_file, history)?, history)
            .leasing(self.max_leased_per_host);
        postgres.trusting(self.ca_file, &format!("{option}-ca-file"))
    }

    pub(super) fn nats(&self, addresses: &str) -> Result<Nats, String> {
        let option = self.option;
        let key_file = self.key_file.ok_or_else(|| {
            format!("{option} nats://… needs {option}-key-file FILE, the same key everywhere")
        })?;
        Ok(Nats {
            addresses: addresses.to_owned(),
            key: self.key(key_file, History::Records)?,
            replicas: self.replicas,
            credentials: self.credentials_file.map(Path::to_owned),
            authorities: self.ca_file.map(Path::to_owned),
            max_payload: self.max_payload,
        })
    }
}

impl OutboxUrl {
    pub(super) async fn open(
        &self,
        settings: &Settings<'_>,
        history: History,
    ) -> Result<Opened, Box<dyn Error>> {
        let Settings { option, .. } = settings;
        let (is_postgres, is_nats) = (
            matches!(self, Self::Postgres(_)),
            matches!(self, Self::Nats(_)),
        );
        if settings.ca_file.is_some() && !is_postgres && !is_nats {
            let text = format!("{option}-ca-file goes with {option} postgres://… or nats://…");
            return Err(text.into());
        }
        if settings.credentials_file.is_some() && !is_nats {
            return Err(format!("{option}-credentials-file goes with {option} nats://…").into());
        }
        if settings.max_leased_per_host.is_some() && !is_postgres {
            let text = format!("{option}-max-leased-per-host goes with {option} postgres://…");
            return Err(text.into());
        }
        Ok(match self {
            Self::Memory if settings.key_file.is_some() => {
                return Err(format!("{option}-key-file goes with {option} sqlite:PATH").into());
            }
            Self::Memory => {
                let outbox = MemoryOutbox::new();
                Opened::Memory(match history {
                    History::None => outbox.with_max_history(0),
                    History::Records | History::AsItIs => outbox,
                    History::Payloads => outbox.with_history_payloads(),
                })
            }
            Self::Sqlite(path) => {
                let beside = || beside(path);
                let key_file = settings.key_file.map_or_else(beside, Path::to_owned);
                if history == History::AsItIs && !path.exists() {
                    return Err(format!("{}: there is no such file", path.display()).into());
                }
                let key = settings.key(&key_file, history)?;
                let outbox = SqliteOutbox::builder(path).with_key(key);
                let outbox = match history {
                    History::None => outbox.with_max_history(0),
                    History::Records => outbox,
                    History::Payloads => outbox.with_history_payloads(),
                    History::AsItIs => outbox
                        .with_max_history(ALL)
                        .with_max_history_bytes(ALL as u64)
                        .with_history_kept(ALWAYS)
                        .with_max_dead_letters(ALL)
                        .with_max_dead_letter_bytes(ALL as u64)
                        .with_dead_letters_kept(ALWAYS),
                };
                let opened = outbox.open();
                Opened::Sqlite(opened.map_err(|error| format!("{}: {error}", path.display()))?)
            }
            Self::Postgres(url) => {
                let opened = settings.postgres(url, history)?.open().await;
                Opened::Postgres(opened.map_err(|error| format!("{option}: {error}"))?)
            }
            Self::Nats(_) if history == History::Payloads => {
                return Err("what is in NATS cannot be looked up: --status-path and --keep-payloads need another outbox".into());
            }
            Self::Nats(addresses) => {
                let opened = settings.nats(addresses)?.open().await;
                Opened::Nats(opened.map_err(|error| format!("{option}: {error}"))?)
            }
        })
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut key_file = path.to_owned().into_os_string();
    key_file.push(".key");
    key_file.into()
}

impl fmt::Display for OutboxUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(_) => f.write_str("postgres"),
            Self::Nats(_) => f.write_str("nats"),
        }
    }
}

impl fmt::Debug for OutboxUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for OutboxUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "memory" => Ok(Self::Memory),
            Some(("sqlite", "")) => Err("a path is missing after sqlite:"),
            Some(("sqlite", path)) => Ok(Self::Sqlite(path.into())),
            Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => {
                Ok(Self::Postgres(text.to_owned()))
            }
            Some(("nats" | "tls", rest)) if rest.starts_with("//") => {
                Ok(Self::Nats(text.to_owned()))
            }
            _ => Err("must be `memory`, `sqlite:PATH`, `postgres://…` or `nats://…`"),
        }
    }
}
