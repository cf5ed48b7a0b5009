//! Where deliveries wait.

use std::{
    error::Error,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use tower_webhook::{
    Dispatcher,
    dispatch::DispatcherBuilder,
    outbox::{MemoryOutbox, SealingKey},
};
use tower_webhook_sqlite::SqliteOutbox;

/// Where webhooks wait to be delivered.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Outbox")]
pub(crate) struct OutboxArgs {
    /// Where webhooks wait to be delivered: memory, or sqlite:PATH, which outlives the process
    #[arg(long, value_name = "OUTBOX", default_value = "memory")]
    outbox: Outbox,

    /// The key that seals secrets in the outbox; made when there is none. Default: PATH.key
    #[arg(long, value_name = "FILE")]
    outbox_key_file: Option<PathBuf>,
}

#[derive(Clone, Debug)]
pub(crate) enum Outbox {
    Memory,
    Sqlite(PathBuf),
}

impl OutboxArgs {
    /// Whether other processes can have it open as well.
    pub(crate) fn is_shared(&self) -> bool {
        !matches!(self.outbox, Outbox::Memory)
    }

    /// The dispatcher with this outbox, and at work on what an earlier run has left in it.
    pub(crate) fn dispatcher(
        &self,
        keeps_payloads: bool,
        builder: DispatcherBuilder,
    ) -> Result<Dispatcher, Box<dyn Error>> {
        let key_file = self.outbox_key_file.as_deref();
        match &self.outbox {
            Outbox::Memory if key_file.is_some() => {
                Err("--outbox-key-file goes with --outbox sqlite:PATH".into())
            }
            Outbox::Memory if keeps_payloads => {
                let outbox = MemoryOutbox::new().with_history_payloads();
                Ok(builder.with_outbox(outbox).build())
            }
            Outbox::Memory => Ok(builder.build()),
            Outbox::Sqlite(path) => {
                let key_file = key_file.map_or_else(|| beside(path), Path::to_owned);
                let key = SealingKey::from_file_or_new(&key_file)
                    .map_err(|error| format!("{}: {error}", key_file.display()))?;
                let mut outbox = SqliteOutbox::builder(path).with_key(key);
                if keeps_payloads {
                    outbox = outbox.with_history_payloads();
                }
                let outbox = outbox
                    .open()
                    .map_err(|error| format!("{}: {error}", path.display()))?;
                let dispatcher = builder.with_outbox(outbox).build();
                dispatcher.start();
                Ok(dispatcher)
            }
        }
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut key_file = path.to_owned().into_os_string();
    key_file.push(".key");
    key_file.into()
}

impl fmt::Display for OutboxArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outbox {
            Outbox::Memory => f.write_str("memory"),
            Outbox::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
        }
    }
}

impl FromStr for Outbox {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "memory" => Ok(Self::Memory),
            Some(("sqlite", "")) => Err("a path is missing after sqlite:"),
            Some(("sqlite", path)) => Ok(Self::Sqlite(path.into())),
            _ => Err("must be `memory` or `sqlite:PATH`"),
        }
    }
}
