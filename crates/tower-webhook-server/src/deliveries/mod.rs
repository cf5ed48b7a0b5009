//! `tower-webhook deliveries`: what an outbox keeps, for those without a browser.

mod act;
mod filter;
mod list;
mod show;
mod text;

use std::{process::ExitCode, time::Duration};

use clap::Subcommand;
use tower_webhook::{BoxError, Dispatcher};

use crate::args::{History, OutboxArgs};

/// Shows what an outbox keeps, delivers it again, or gives it up
#[derive(Debug, clap::Args)]
pub(crate) struct DeliveriesArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists deliveries, newest first: a table on a terminal, else one JSON object a line
    List(list::ListArgs),
    /// Shows one delivery and its attempts, or its payload
    Show(show::ShowArgs),
    /// Delivers dead letters again, and what was delivered where its payload is kept
    Redeliver(act::ActArgs),
    /// Gives up deliveries that wait
    Cancel(act::ActArgs),
}

/// What every action is told.
#[derive(Debug, clap::Args)]
struct Common {
    #[command(flatten)]
    outbox: OutboxArgs,

    /// JSON, also on a terminal
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: DeliveriesArgs) -> Result<ExitCode, BoxError> {
    match args.action {
        Action::List(args) => list::run(args).await,
        Action::Show(args) => show::run(args).await,
        Action::Redeliver(args) => act::run(args, act::Act::Redeliver).await,
        Action::Cancel(args) => act::run(args, act::Act::Cancel).await,
    }
}

impl Common {
    /// A dispatcher that only looks: it makes no attempts, and removes nothing.
    async fn dispatcher(&self) -> Result<Dispatcher, BoxError> {
        if !self.outbox.is_shared() {
            return Err("name the --outbox that is to be looked at".into());
        }
        let builder = Dispatcher::builder().without_attempts();
        if !self.outbox.can_list() {
            return Err("what is in NATS cannot be looked up".into());
        }
        let builder = self.outbox.open(History::AsItIs, 0, builder).await;
        let builder = builder.map_err(|error| error.to_string())?;
        Ok(builder.build())
    }
}

/// Nothing waits for anybody: it hands back what is open.
async fn close(dispatcher: &Dispatcher) {
    dispatcher.shutdown(Duration::ZERO).await;
}
