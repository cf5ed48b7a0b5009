//! `--outbox` and `--outbox-key-file`: where deliveries wait.

use std::{
    error::Error,
    path::{Path, PathBuf},
    str::FromStr,
};

use tower_webhook::{
    Dispatcher,
    dispatch::DispatcherBuilder,
    outbox::{MemoryOutbox, SealingKey},
};
use tower_webhook_sqlite::SqliteOutbox;

/// Where deliveries wait.
#[derive(Clone, Debug)]
pub(crate) enum Outbox {
    Memory,
    Sqlite(PathBuf),
}

fn beside(path: &Path) -> PathBuf {
    let mut key_file = path.to_owned().into_os_string();
    key_file.push(".key");
    key_file.into()
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

impl Outbox {
    /// The dispatcher with this outbox, and at work on what an earlier run has left in it.
    pub(crate) fn dispatcher(
        &self,
        key_file: Option<&Path>,
        keeps_payloads: bool,
        builder: DispatcherBuilder,
    ) -> Result<Dispatcher, Box<dyn Error>> {
        match self {
            Self::Memory if key_file.is_some() => {
                Err("--outbox-key-file goes with --outbox sqlite:PATH".into())
            }
            Self::Memory if keeps_payloads => {
                let outbox = MemoryOutbox::new().with_history_payloads();
                Ok(builder.with_outbox(outbox).build())
            }
            Self::Memory => Ok(builder.build()),
            Self::Sqlite(path) => {
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
