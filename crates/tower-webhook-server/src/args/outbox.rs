//! Where deliveries wait, and where they go on to.

use std::{error::Error, fmt, path::PathBuf};

use tower_webhook::dispatch::DispatcherBuilder;

use super::{
    outbox_url::{History, Opened, OutboxUrl, Settings},
    postgres::MAX_PAYLOAD,
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
            OutboxUrl::Postgres(_) if max_payload > MAX_PAYLOAD => {
                let text = "--forward takes no bodies as large as --body-limit: 256MiB at most";
                return Err(text.into());
            }
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

impl fmt::Display for OutboxArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.outbox.fmt(f)
    }
}
