//! `tower-webhook proxy`: a reverse proxy in front of a service. The README says what it changes, and
//! what callers get instead of the service's answer.
//!
//! A call goes from `serve` (the connections of callers) through `call` (whether it can be read in one
//! way only) and the layer to `forward`, which sends it by `service` on one `connection` or another. What the
//! service says before its answer goes back by `interim`.

mod answer;
mod args;
mod call;
mod caller;
mod connection;
mod forward;
mod headers;
mod heads;
mod interim;
mod link;
mod replay;
mod serve;
mod service;
mod tls;
mod upstream;

use std::{error::Error, io::Write as _, process::ExitCode, time::Instant};

use tokio::net::TcpListener;

pub(crate) use self::args::ProxyArgs;
use self::{
    forward::Proxy,
    serve::{Server, StatusAt},
    service::Service,
};
use crate::stop::{Stop, shut_down};

/// Serves until a signal comes, and drains.
pub(crate) async fn run(args: ProxyArgs) -> Result<ExitCode, Box<dyn Error>> {
    // First: from when it says that it listens, a signal finds it ready.
    let mut stop = Stop::new()?;
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", args.listen))?;
    let address = listener.local_addr()?;
    let connector = tls::connector(
        &args.upstream,
        args.upstream_http2,
        args.upstream_ca_file.as_deref(),
    )?;
    let admin = args.admin.bind().await?;
    let dispatcher = args.dispatcher(admin.as_ref()).await?;
    let can_be_tried = args.outbox.can_list();
    let layer = args.calls.layer(&dispatcher);
    let status = args.calls.status_path();
    let status = status.map(|path| StatusAt::new(path, &dispatcher));
    let keys = args.keys_path();
    let keys = keys.map(|path| (path.to_owned(), tower_webhook::keys(&dispatcher)));
    let service = Service::new(args.upstream, connector, args.upstream_http2);
    let proxy = Proxy::new(service, args.upstream_timeout);

    // On standard output, for scripts. Nobody may be reading.
    let _ = writeln!(std::io::stdout(), "listening on http://{address}");
    let ready = admin.map(|admin| admin.serve(&dispatcher, can_be_tried));
    let server = Server::new(layer, proxy, args.half_close_timeout, status, keys);
    let connections = server.serve(&listener, stop.asked()).await;
    drop(listener);

    if let Some(ready) = ready {
        ready.drain();
    }
    tracing::info!(within = ?args.drain, "draining");
    let started = Instant::now();
    let drained = async {
        // Connections first, since they still make webhooks; one deadline for both.
        let cut_off = tokio::time::timeout(args.drain, connections.shutdown()).await;
        if cut_off.is_err() {
            tracing::warn!("cutting off connections that are still open");
        }
        let left = args.drain.saturating_sub(started.elapsed());
        shut_down(&dispatcher, left).await
    };
    Ok(stop.unless_asked_again(drained, &dispatcher).await)
}
