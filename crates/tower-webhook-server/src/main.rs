//! Webhooks for an HTTP service in any language.
//!
//! `tower-webhook proxy` stands in front of a service: a call that names an endpoint gets its response
//! as always, and the same bytes are POSTed there. `tower-webhook worker` delivers what others have put
//! into an outbox. `tower-webhook deliveries` shows what an outbox keeps.

mod admin;
mod args;
mod connections;
mod deliveries;
mod proxy;
mod stop;
mod worker;

use std::{error::Error, io::IsTerminal as _, process::ExitCode};

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use crate::{
    args::{with_environment, without_secrets},
    deliveries::DeliveriesArgs,
    proxy::ProxyArgs,
    worker::WorkerArgs,
};

/// Webhooks for an HTTP service in any language
#[derive(Debug, Parser)]
#[command(name = "tower-webhook", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(after_help = ENVIRONMENT)]
    Proxy(Box<ProxyArgs>),
    #[command(after_help = ENVIRONMENT)]
    Worker(Box<WorkerArgs>),
    #[command(after_help = ENVIRONMENT)]
    Deliveries(Box<DeliveriesArgs>),
}

const ENVIRONMENT: &str = "\
Each option can be given in the environment as well: --max-run as TOWER_WEBHOOK_MAX_RUN. What has no \
value is on with `true` and off with `false`. Times are as in 500ms, 15s, 10m, 1h.
Logs go to standard error; RUST_LOG chooses what is in them, such as `info,tower_webhook=debug`.";

#[tokio::main]
async fn main() -> ExitCode {
    let matches = with_environment(Cli::command()).try_get_matches();
    let cli = matches.and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = cli.unwrap_or_else(|error| without_secrets(error).exit());
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let ended = match cli.command {
        Command::Proxy(args) => proxy::run(*args).await,
        Command::Worker(args) => worker::run(*args).await,
        Command::Deliveries(args) => match deliveries::run(*args).await {
            Ok(code) => Ok(code),
            Err(error) => Err(error as Box<dyn Error>),
        },
    };
    ended.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}
