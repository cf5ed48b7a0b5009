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
//! | what the service sees | |
//! | --- | --- |
//! | served | HTTP/1 and HTTP/2 without TLS, on one port; TLS ends in front of it |
//! | `Host`, `:authority` | stay the caller's, so that the service's own links are right |
//! | `X-Forwarded-For` | the caller's address is added at its end; believe no more of it than you put in front |
//! | `X-Forwarded-Proto` | `http`, unless something in front has said otherwise |
//! | `Connection` and what it names, `TE`, `Transfer-Encoding` and so on | concern one connection and stay there |
//! | cookies of an HTTP/2 caller | one line for a service that speaks HTTP/1 |
//! | trailers | go through; HTTP/1 has them only where `Trailer` names them |
//! | upgrades (WebSocket) | become a tunnel, until one side or the proxy ends |
//! | a request that the service has not seen (`REFUSED_STREAM`, `GOAWAY`, a kept connection that was just closing) | is sent again on a new connection, three times in all; 64 KiB of its body are kept for that. On HTTP/1, one that it may have seen only where its method is idempotent or nothing of its body was sent |
//!
//! | what the caller gets instead of the service's answer | |
//! | --- | --- |
//! | `CONNECT` | 405: this is no forward proxy |
//! | no `Host` (HTTP/1.1), two of them, a malformed one, one that differs from the target | 400 |
//! | a length beside chunks, lengths that differ, chunks on HTTP/1.0, malformed header lines | 400 |
//! | another `Transfer-Encoding` than `chunked` | 501 |
//! | over 1,000 header lines on HTTP/1, 256 KiB of them on HTTP/2 | 431 |
//! | a target over 65,534 bytes | 414 |
//! | the service cannot be reached, or breaks off before it answers | 502, which is forwarded like any other answer |
//! | the service's answer does not say for certain how its body is to be read | 502 as well. One `Content-Length` is left of equal ones, none beside chunks; other malformed header lines are left out |
//! | the service's answer does not begin within `--upstream-timeout` | 504, forwarded as well |
//!
//! Not forwarded is what a service says before its answer (`103 Early Hints`): hyper 1.12 gives it
//! to a client, but has no way for a server to send it. Who sends `Expect: 100-continue` hears
//! `100` from the proxy.
//!
//! A call runs on when its caller hangs up, for `--max-run` at most, and ends with
//! `--cancel-on-disconnect`; one that wants no webhook always ends. The connection to the service
//! ends with the call. A caller that only closes its sending side gets its answer: as TCP does not
//! tell the two apart, it counts as gone once nothing has moved for `--half-close-timeout`.
//!
//! With `--status-path /webhooks`, what is under that path is the proxy's own: callers are told what has
//! become of their calls.
//!
//! With `--signing-key-file`, every webhook has a signature of the proxy's own (`v1a,…` in
//! `webhook-signature`), which needs no secret. With `--keys-path` the proxy answers to that path with
//! its public keys; all other paths are the service's.
//!
//! SIGTERM and Ctrl-C drain: no new connections, then calls under way end, then their webhooks,
//! all within `--drain`. A second signal cuts that short. The exit code is 0 unless webhooks had
//! to be given up. Logs go to standard error; `RUST_LOG` chooses what is in them.

mod answer;
mod args;
mod call;
mod caller;
mod connection;
mod forward;
mod headers;
mod heads;
mod link;
mod outbox;
mod replay;
mod serve;
mod service;
mod stop;
mod upstream;

use std::{
    error::Error,
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tower_webhook::Dispatcher;
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use crate::{
    args::Args,
    forward::Proxy,
    serve::{Server, StatusAt},
    service::Service,
    stop::Stop,
};

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
    let service = Service::new(args.upstream, args.upstream_http2);
    let proxy = Proxy::new(service, args.upstream_timeout);

    // On standard output, for scripts. Nobody may be reading.
    let _ = writeln!(std::io::stdout(), "listening on http://{address}");
    let status = args
        .status_path
        .map(|path| StatusAt::new(path, &dispatcher));
    let keys = args
        .keys_path
        .map(|path| (path, tower_webhook::keys(&dispatcher)));
    let server = Server::new(layer, proxy, args.half_close_timeout, status, keys);
    let connections = server.serve(&listener, stop.asked()).await;
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
