use std::{error::Error, net::SocketAddr, path::PathBuf, time::Duration};

use clap::Parser;
use tower_webhook::{Dispatcher, EndpointPolicy, WebhookLayer};

use crate::{outbox::Outbox, upstream::Upstream};

/// A reverse proxy that forwards responses to the webhook endpoint that the caller names.
#[derive(Debug, Parser)]
#[command(name = "proxy", version)]
pub(crate) struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,

    /// The service behind the proxy, such as http://127.0.0.1:9000
    #[arg(long, value_name = "URL")]
    pub(crate) upstream: Upstream,

    /// Speak HTTP/2 to the service, as gRPC needs it
    #[arg(long)]
    pub(crate) upstream_http2: bool,

    /// Accept webhook endpoints with http and in private networks: for trying out
    #[arg(long)]
    insecure_private_endpoints: bool,

    /// How long the service may take until its answer begins; then it is a 504 [default: any time]
    #[arg(long, value_name = "TIME", value_parser = some_time)]
    pub(crate) upstream_timeout: Option<Duration>,

    /// End a call when its caller hangs up; otherwise it runs on, and its webhook is delivered
    #[arg(long)]
    cancel_on_disconnect: bool,

    /// How long a caller that has closed its sending side may wait while nothing moves; then it has
    /// hung up
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = humantime::parse_duration)]
    pub(crate) half_close_timeout: Duration,

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
    pub(crate) drain: Duration,
}

impl Args {
    pub(crate) fn dispatcher(&self) -> Result<Dispatcher, Box<dyn Error>> {
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

    pub(crate) fn layer(&self, dispatcher: &Dispatcher) -> WebhookLayer {
        let mut layer = WebhookLayer::new().with_dispatcher(dispatcher.clone());
        if self.required_secret {
            layer = layer.with_required_secret();
        }
        if self.cancel_on_disconnect {
            layer = layer.with_cancel_on_disconnect();
        }
        layer
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
