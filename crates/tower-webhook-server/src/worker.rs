//! `tower-webhook worker`: delivers what others have put into an outbox.

use std::{error::Error, io::Write as _, process::ExitCode, time::Duration};

use crate::{
    admin::AdminArgs,
    args::{DeliveryArgs, EndpointArgs, ForwardArgs, History, OutboxArgs, number, size},
    stop::{Stop, shut_down},
};

/// Delivers the webhooks that proxies and APIs have put into an outbox, and serves nobody
#[derive(Debug, clap::Args)]
pub(crate) struct WorkerArgs {
    #[command(flatten)]
    outbox: OutboxArgs,

    #[command(flatten)]
    forward: ForwardArgs,

    #[command(flatten)]
    admin: AdminArgs,

    /// How long attempts under way may take to end after SIGTERM or Ctrl-C. What waits is handed back
    /// at once
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    drain: Duration,

    /// How many attempts may be under way at once; half of the sockets at most [default: 512]
    #[arg(long, value_name = "NUMBER", value_parser = number)]
    max_attempts: Option<usize>,

    /// How many of them may be to one endpoint host [default: 64]
    #[arg(long, value_name = "NUMBER", value_parser = number)]
    max_attempts_per_host: Option<usize>,

    /// Keep the payloads of what was delivered for a while, for callers who ask for their result
    #[arg(long, conflicts_with = "forward")]
    keep_payloads: bool,

    /// The largest body that is in the outbox: the --body-limit of those that put webhooks there, up to 1GiB
    #[arg(long, value_name = "SIZE", default_value = "4MiB", value_parser = size)]
    body_limit: usize,

    #[command(flatten)]
    endpoints: EndpointArgs,

    #[command(flatten)]
    deliveries: DeliveryArgs,
}

/// Delivers until a signal comes, and hands back what is left.
pub(crate) async fn run(args: WorkerArgs) -> Result<ExitCode, Box<dyn Error>> {
    let mut stop = Stop::new()?;
    if !args.outbox.is_shared() {
        return Err("a worker needs the --outbox that others put webhooks into".into());
    }
    let mut builder = args
        .deliveries
        .builder()?
        .with_endpoint_policy(args.endpoints.policy()?);
    if let Some(number) = args.max_attempts {
        builder = builder.with_max_attempts(number);
    }
    if let Some(number) = args.max_attempts_per_host {
        builder = builder.with_max_attempts_per_host(number);
    }
    let admin = args.admin.bind().await?;
    if let Some(admin) = &admin {
        builder = admin.watching(builder);
    }
    let history = match (args.forward.is_given(), args.keep_payloads) {
        // What has gone on is not here any more.
        (true, _) => History::None,
        (false, true) => History::Payloads,
        (false, false) => History::Records,
    };
    let builder = args.outbox.open(history, args.body_limit, builder).await?;
    let builder = args.forward.open(args.body_limit, builder).await?;
    let dispatcher = builder.with_body_limit(args.body_limit).build();
    dispatcher.start();
    // On standard output, for scripts. Nobody may be reading.
    let _ = writeln!(std::io::stdout(), "delivering from {}", args.outbox);
    let ready = admin.map(|admin| admin.serve(&dispatcher, args.outbox.can_list()));
    stop.asked().await;
    if let Some(ready) = ready {
        ready.drain();
    }
    tracing::info!(within = ?args.drain, "draining");
    let drained = shut_down(&dispatcher, args.drain);
    Ok(stop.unless_asked_again(drained, &dispatcher).await)
}
