use std::{error::Error, net::SocketAddr, path::PathBuf, time::Duration};

use tower_webhook::Dispatcher;

use super::upstream::Upstream;

use crate::{
    admin::{Admin, AdminArgs},
    args::{
        CallArgs, DeliveryArgs, EndpointArgs, ForwardArgs, History, OutboxArgs,
        longer_than_nothing, path,
    },
};

/// Where the public keys are, unless it is said otherwise.
const KEYS_PATH: &str = "/.well-known/jwks.json";

/// A reverse proxy that forwards responses to the webhook endpoint that the caller names
#[derive(Debug, clap::Args)]
pub(crate) struct ProxyArgs {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,

    /// The service behind the proxy, such as http://127.0.0.1:9000 or https://service.example.com
    #[arg(long, value_name = "URL")]
    pub(crate) upstream: Upstream,

    /// Speak HTTP/2 to the service, as gRPC needs it
    #[arg(long)]
    pub(crate) upstream_http2: bool,

    /// Trust these certificate authorities (PEM) as the service's, instead of the system's
    #[arg(long, value_name = "FILE")]
    pub(crate) upstream_ca_file: Option<PathBuf>,

    /// How long the service may take until its answer begins; then it is a 504 [default: any time]
    #[arg(long, value_name = "TIME", value_parser = longer_than_nothing)]
    pub(crate) upstream_timeout: Option<Duration>,

    /// How long a caller that has closed its sending side may wait while nothing moves; then it has
    /// hung up
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = humantime::parse_duration)]
    pub(crate) half_close_timeout: Duration,

    /// How long calls and webhooks under way may take to end after SIGTERM or Ctrl-C
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub(crate) drain: Duration,

    /// The path where the proxy itself answers with its public keys, where it has a key
    #[arg(long, value_name = "PATH", default_value = KEYS_PATH, requires = "signing_key_file", help_heading = "Deliveries",
        value_parser = path)]
    keys_path: String,

    /// Answer calls that ask for a webhook with 503 while the outbox takes nothing; otherwise their
    /// webhooks wait in memory, and are lost with the proxy
    #[arg(long, help_heading = "Outbox")]
    required_durability: bool,

    /// Make no attempts: what is accepted is put into the outbox, and `tower-webhook worker` delivers it
    #[arg(long, help_heading = "Outbox")]
    no_deliver: bool,

    #[command(flatten)]
    pub(crate) calls: CallArgs,

    #[command(flatten)]
    endpoints: EndpointArgs,

    #[command(flatten)]
    deliveries: DeliveryArgs,

    #[command(flatten)]
    pub(crate) outbox: OutboxArgs,

    #[command(flatten)]
    forward: ForwardArgs,

    #[command(flatten)]
    pub(crate) admin: AdminArgs,
}

impl ProxyArgs {
    /// A dispatcher that is at work on what an earlier run has left.
    pub(crate) async fn dispatcher(
        &self,
        admin: Option<&Admin>,
    ) -> Result<Dispatcher, Box<dyn Error>> {
        let mut builder = self
            .deliveries
            .builder()?
            .with_endpoint_policy(self.endpoints.policy()?);
        builder = self.calls.bounds(builder);
        if self.required_durability {
            builder = builder.with_required_durability();
        }
        if self.no_deliver {
            if !self.outbox.is_shared() {
                return Err("--no-deliver goes with an --outbox that workers can open".into());
            }
            builder = builder.without_attempts();
        }
        let has_status = self.calls.status_path().is_some();
        if self.forward.is_given() && has_status {
            return Err("--status-path cannot see what goes on with --forward".into());
        }
        let history = match (self.forward.is_given(), has_status) {
            // What has gone on is not here any more.
            (true, _) => History::None,
            (false, true) => History::Payloads,
            (false, false) => History::Records,
        };
        if let Some(admin) = admin {
            builder = admin.watching(builder);
        }
        let max_payload = self.calls.body_limit();
        let builder = self.outbox.open(history, max_payload, builder).await?;
        let dispatcher = self.forward.open(max_payload, builder).await?.build();
        dispatcher.start();
        Ok(dispatcher)
    }

    pub(crate) fn keys_path(&self) -> Option<&str> {
        self.deliveries.has_signing_key().then_some(&self.keys_path)
    }
}
