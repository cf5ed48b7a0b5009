//! Where deliveries wait, and where they go on to.

use std::{
    error::Error,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use tower_webhook::{
    dispatch::DispatcherBuilder,
    outbox::{MemoryOutbox, SealingKey, SealingKeyError},
};
use tower_webhook_nats::JetStreamOutbox;
use tower_webhook_postgres::PostgresOutbox;
use tower_webhook_sqlite::SqliteOutbox;

use super::{
    nats::Nats,
    postgres::{MAX_PAYLOAD, Postgres},
    values::number,
};

/// Where webhooks wait to be delivered.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Outbox")]
pub(crate) struct OutboxArgs {
    /// Where webhooks wait to be delivered: memory, sqlite:PATH, postgres://USER:PASSWORD@HOST/NAME, or
    /// nats://HOST, of several servers with commas
    #[arg(long, value_name = "OUTBOX", default_value = "memory")]
    outbox: OutboxUrl,

    /// The key that seals what is in the outbox; made when there is none. Every process with the same
    /// outbox has the same key. Default, for sqlite:PATH: PATH.key
    #[arg(long, value_name = "FILE")]
    outbox_key_file: Option<PathBuf>,

    /// A key that the outbox was sealed with before: what waits can still be read. May be given more than
    /// once; in the environment, one a line
    #[arg(long, value_name = "FILE", value_delimiter = '\n')]
    outbox_older_key_file: Vec<PathBuf>,

    /// Trust these certificate authorities (PEM) as the server's: PostgreSQL's instead of those that browsers
    /// trust, NATS's beside those of the system
    #[arg(long, value_name = "FILE")]
    outbox_ca_file: Option<PathBuf>,

    /// The schema in PostgreSQL
    #[arg(long, value_name = "NAME", default_value = "tower_webhook")]
    outbox_schema: String,

    /// How many webhooks to one endpoint host may be leased at once in PostgreSQL, by all processes with
    /// the same outbox: about as many attempts are made at once [default: no limit]
    #[arg(long, value_name = "NUMBER", value_parser = number)]
    outbox_max_leased_per_host: Option<usize>,

    /// On how many NATS servers each webhook is kept: 1, 3 or 5
    #[arg(long, value_name = "NUMBER", default_value = "3", value_parser = number)]
    outbox_replicas: usize,

    /// The file with the token and the key that NATS servers ask for
    #[arg(long, value_name = "FILE")]
    outbox_credentials_file: Option<PathBuf>,
}

/// Where they go on to from there.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Outbox")]
pub(crate) struct ForwardArgs {
    /// Put webhooks on into this outbox, which workers deliver from; no call waits for it
    #[arg(long, value_name = "OUTBOX", requires = "outbox")]
    forward: Option<OutboxUrl>,

    /// The key of that outbox, as for --outbox-key-file
    #[arg(long, value_name = "FILE", requires = "forward")]
    forward_key_file: Option<PathBuf>,

    /// As --outbox-ca-file, of that outbox
    #[arg(long, value_name = "FILE", requires = "forward")]
    forward_ca_file: Option<PathBuf>,

    /// As --outbox-schema, of that outbox
    #[arg(
        long,
        value_name = "NAME",
        default_value = "tower_webhook",
        requires = "forward"
    )]
    forward_schema: String,

    /// As --outbox-replicas, of that outbox
    #[arg(long, value_name = "NUMBER", default_value = "3", value_parser = number, requires = "forward")]
    forward_replicas: usize,

    /// As --outbox-credentials-file, of that outbox
    #[arg(long, value_name = "FILE", requires = "forward")]
    forward_credentials_file: Option<PathBuf>,
}

/// It may have a password in it, and is not shown.
#[derive(Clone)]
enum OutboxUrl {
    Memory,
    Sqlite(PathBuf),
    Postgres(String),
    Nats(String),
}

/// More than there ever is.
pub(super) const ALL: usize = usize::MAX >> 2;
pub(super) const ALWAYS: Duration = Duration::from_secs(100 * 365 * 86_400);

/// What the options of one outbox begin with, for complaints.
struct Settings<'a> {
    option: &'static str,
    key_file: Option<&'a Path>,
    older_key_files: &'a [PathBuf],
    ca_file: Option<&'a Path>,
    schema: &'a str,
    max_leased_per_host: Option<usize>,
    replicas: usize,
    credentials_file: Option<&'a Path>,
    max_payload: usize,
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

enum Opened {
    Memory(MemoryOutbox),
    Sqlite(SqliteOutbox),
    Postgres(PostgresOutbox),
    Nats(JetStreamOutbox),
}

impl OutboxArgs {
    /// Whether other processes can have it open as well.
    pub(crate) fn is_shared(&self) -> bool {
        !matches!(self.outbox, OutboxUrl::Memory)
    }

    /// Whether what is in it can be looked up, and delivered again.
    pub(crate) fn can_list(&self) -> bool {
        !matches!(self.outbox, OutboxUrl::Nats(_))
    }

    /// `max_payload`: the largest body that is to be kept.
    pub(crate) async fn open(
        &self,
        history: History,
        max_payload: usize,
        builder: DispatcherBuilder,
    ) -> Result<DispatcherBuilder, Box<dyn Error>> {
        let settings = Settings {
            option: "--outbox",
            key_file: self.outbox_key_file.as_deref(),
            older_key_files: &self.outbox_older_key_file,
            ca_file: self.outbox_ca_file.as_deref(),
            schema: &self.outbox_schema,
            max_leased_per_host: self.outbox_max_leased_per_host,
            replicas: self.outbox_replicas,
            credentials_file: self.outbox_credentials_file.as_deref(),
            max_payload,
        };
        Ok(match self.outbox.open(&settings, history).await? {
            Opened::Memory(outbox) => builder.with_outbox(outbox),
            Opened::Sqlite(outbox) => builder.with_outbox(outbox),
            Opened::Postgres(outbox) => builder.with_outbox(outbox),
            Opened::Nats(outbox) => builder.with_outbox(outbox),
        })
    }
}

impl ForwardArgs {
    pub(crate) fn is_given(&self) -> bool {
        self.forward.is_some()
    }

    /// The largest body that can go on.
    pub(crate) fn max_payload(&self) -> usize {
        match self.forward {
            Some(OutboxUrl::Postgres(_)) => MAX_PAYLOAD,
            _ => usize::MAX,
        }
    }

    pub(crate) async fn open(
        &self,
        max_payload: usize,
        builder: DispatcherBuilder,
    ) -> Result<DispatcherBuilder, Box<dyn Error>> {
        let Some(forward) = &self.forward else {
            return Ok(builder);
        };
        let settings = Settings {
            option: "--forward",
            key_file: self.forward_key_file.as_deref(),
            older_key_files: &[],
            ca_file: self.forward_ca_file.as_deref(),
            schema: &self.forward_schema,
            max_leased_per_host: None,
            replicas: self.forward_replicas,
            credentials_file: self.forward_credentials_file.as_deref(),
            max_payload,
        };
        // The history is that of whoever delivers from there.
        let history = History::Records;
        Ok(match forward {
            OutboxUrl::Postgres(url) => {
                let late = settings.postgres(url, history)?.open_now_or_later().await;
                builder.with_forwarding(late.map_err(|error| format!("--forward: {error}"))?)
            }
            OutboxUrl::Nats(addresses) => {
                let late = settings.nats(addresses)?.open_now_or_later().await;
                builder.with_forwarding(late.map_err(|error| format!("--forward: {error}"))?)
            }
            OutboxUrl::Memory => return Err("--forward memory keeps nothing".into()),
            OutboxUrl::Sqlite(_) => match forward.open(&settings, history).await? {
                Opened::Sqlite(outbox) => builder.with_forwarding(outbox),
                _ => unreachable!("it is a file"),
            },
        })
    }
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

    fn postgres(&self, url: &str, history: History) -> Result<Postgres, String> {
        let option = self.option;
        let key_file = self.key_file.ok_or_else(|| {
            format!("{option} postgres://… needs {option}-key-file FILE, the same key everywhere")
        })?;
        let postgres = Postgres::new(url, self.schema, self.key(key_file, history)?, history)
            .leasing(self.max_leased_per_host);
        postgres.trusting(self.ca_file, &format!("{option}-ca-file"))
    }
}

impl Settings<'_> {
    fn nats(&self, addresses: &str) -> Result<Nats, String> {
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
    async fn open(
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

impl fmt::Display for OutboxArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.outbox.fmt(f)
    }
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
