//! A reverse proxy that gives webhook forwarding to any HTTP service, in any language.
//!
//! ```sh
//! # a service, in its own language
//! python3 -m http.server 9000 --bind 127.0.0.1
//!
//! # the proxy in front of it; --insecure-private-endpoints is for trying out on one machine
//! cargo run --example proxy -- --upstream http://127.0.0.1:9000 --insecure-private-endpoints
//!
//! # somebody who takes webhooks
//! WEBHOOK_SECRET=a-value-of-your-choice cargo run --example receiver -- 127.0.0.1:9001
//!
//! # a call that asks for one
//! curl -i -H 'X-Webhook-Secret: a-value-of-your-choice' \
//!   'http://127.0.0.1:8080/?webhookEndpoint=http%3A%2F%2F127.0.0.1%3A9001%2Fwebhook'
//! ```
//!
//! With `--outbox sqlite:webhooks.db`, a webhook whose call has been answered
//! outlives the proxy: what one run could not deliver, the next one does.
//!
//! What the service sees and answers goes through as it is and when it is made: nothing is
//! collected, decompressed or rewritten, neither way.
//!
//! | | |
//! | --- | --- |
//! | served | HTTP/1 and HTTP/2 without TLS, on one port; TLS ends in front of it |
//! | `Host` | stays the caller's, so that the service's own links are right |
//! | `X-Forwarded-For` | the caller's address is added at its end; believe no more of it than you put in front |
//! | `X-Forwarded-Proto` | `http`, unless something in front has said otherwise |
//! | `Connection` and what it names, `TE`, `Transfer-Encoding` and so on | concern one connection and stay there |
//! | upgrades (WebSocket) | become a tunnel, until one side or the proxy ends |
//! | `CONNECT` | 405: this is no forward proxy |
//! | the service cannot be reached, or breaks off before it answers | 502, which is forwarded like any other answer |
//!
//! SIGTERM and Ctrl-C drain: no new connections, then calls under way end, then their webhooks,
//! all within `--drain`. A second signal cuts that short. The exit code is 0 unless webhooks had
//! to be given up. Logs go to standard error; `RUST_LOG` chooses what is in them.

mod forward;
mod headers;
mod outbox;
mod serve;
mod stop;
mod upstream;

use std::{
    error::Error,
    io::{IsTerminal as _, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tower_webhook::{Dispatcher, EndpointPolicy, WebhookLayer};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use crate::{forward::Proxy, outbox::Outbox, stop::Stop, upstream::Upstream};

/// A reverse proxy that forwards responses to the webhook endpoint that the caller names.
#[derive(Debug, Parser)]
#[command(name = "proxy", version)]
struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,

    /// The service behind the proxy, such as http://127.0.0.1:9000
    #[arg(long, value_name = "URL")]
    upstream: Upstream,

    /// Speak HTTP/2 to the service, as gRPC needs it
    #[arg(long)]
    upstream_http2: bool,

    /// Accept webhook endpoints with http and in private networks: for trying out
    #[arg(long)]
    insecure_private_endpoints: bool,

    /// How long one attempt to deliver a webhook may take
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = some_time)]
    attempt_timeout: Duration,

    /// The largest response that is forwarded, up to 1GiB
    #[arg(long, value_name = "SIZE", default_value = "4MiB", value_parser = size)]
    body_limit: usize,

    /// Refuse calls that ask for a webhook without a secret to sign it
    #[arg(long)]
    required_secret: bool,

    /// Where webhooks wait to be delivered: memory, or sqlite:PATH, which outlives the proxy
    #[arg(long, value_name = "OUTBOX", default_value = "memory")]
    outbox: Outbox,

    /// The key that seals secrets in the outbox; made when there is none. Default: PATH.key
    #[arg(long, value_name = "FILE")]
    outbox_key_file: Option<PathBuf>,

    /// How long calls and webhooks under way may take to end after SIGTERM or Ctrl-C
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    drain: Duration,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env_lossy();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    match run(args).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    // First: from when it says that it listens, a signal finds it ready.
    let mut stop = Stop::new()?;
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", args.listen))?;
    let address = listener.local_addr()?;
    let dispatcher = args.dispatcher()?;
    let layer = args.layer(&dispatcher);
    let proxy = Proxy::new(args.upstream, args.upstream_http2);

    // On standard output, for scripts. Nobody may be reading.
    let _ = writeln!(std::io::stdout(), "listening on http://{address}");
    let connections = serve::serve(&listener, &layer, &proxy, stop.asked()).await;
    drop(listener);

    tracing::info!(within = ?args.drain, "draining");
    tokio::select! {
        code = drain(connections, &dispatcher, args.drain) => Ok(code),
        () = stop.asked() => {
            tracing::warn!(lost = dispatcher.outstanding(), "told again to stop");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Connections first, since they still make webhooks; one deadline for both.
async fn drain(
    connections: GracefulShutdown,
    dispatcher: &Dispatcher,
    within: Duration,
) -> ExitCode {
    let started = Instant::now();
    if tokio::time::timeout(within, connections.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("cutting off connections that are still open");
    }
    let left = within.saturating_sub(started.elapsed());
    let report = dispatcher.shutdown(left).await;
    let counts = dispatcher.counts();
    tracing::info!(
        accepted = counts.accepted,
        delivered = counts.delivered,
        dead = counts.dead,
        failed = counts.failed,
        abandoned = report.abandoned.len(),
        unfinished = report.unfinished,
        "drained"
    );
    if report.abandoned.is_empty() && report.unfinished == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

impl Args {
    fn dispatcher(&self) -> Result<Dispatcher, Box<dyn Error>> {
        let mut policy = EndpointPolicy::public();
        if self.insecure_private_endpoints {
            policy = policy.with_insecure_http().with_insecure_private_networks();
        }
        let builder = Dispatcher::builder()
            .with_endpoint_policy(policy)
            .with_attempt_timeout(self.attempt_timeout)
            .with_body_limit(self.body_limit);
        self.outbox
            .dispatcher(self.outbox_key_file.as_deref(), builder)
    }

    fn layer(&self, dispatcher: &Dispatcher) -> WebhookLayer {
        let layer = WebhookLayer::new().with_dispatcher(dispatcher.clone());
        if self.required_secret {
            layer.with_required_secret()
        } else {
            layer
        }
    }
}

fn some_time(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Err("must be longer than that".to_owned()),
        parsed => parsed.map_err(|error| error.to_string()),
    }
}

/// The memory for all webhooks under way: a larger body could never be admitted.
const MAX_BODY: usize = 1 << 30;

fn size(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match text[digits.len()..].trim() {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err("must be a number of B, KiB, MiB or GiB, such as 4MiB".to_owned()),
    };
    let number: usize = digits
        .parse()
        .map_err(|_| "must begin with a number, such as 4MiB".to_owned())?;
    number
        .checked_mul(1 << shift)
        .filter(|bytes| *bytes <= MAX_BODY)
        .ok_or_else(|| "must be 1GiB at most".to_owned())
}
