use std::{error::Error, net::SocketAddr, path::PathBuf, time::Duration};

use clap::Parser;
use tower_webhook::{Dispatcher, EndpointPolicy, RetryPolicy, WebhookLayer, delivery::SigningKey};

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

    /// How long a call may run that nobody waits for any more; then it ends, and its endpoint is told
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = some_time)]
    max_run: Duration,

    /// Answer calls that ask for it (async=true, or Prefer: respond-async) with a 202 at once
    #[arg(long)]
    async_requests: bool,

    /// How long such a call waits for its response at most, whatever it prefers
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    longest_wait: Duration,

    /// Do not tell endpoints of webhooks whose response never becomes a delivery
    #[arg(long)]
    no_failure_notices: bool,

    /// How long a caller that has closed its sending side may wait while nothing moves; then it has
    /// hung up
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = humantime::parse_duration)]
    pub(crate) half_close_timeout: Duration,

    /// How long one attempt to deliver a webhook may take
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = some_time)]
    attempt_timeout: Duration,

    /// When a delivery is tried again: cerebrium, patient or standard-webhooks
    #[arg(long, value_name = "POLICY", default_value = "cerebrium", value_parser = retry_policy)]
    retry: RetryPolicy,

    /// The largest response that is forwarded, up to 1GiB
    #[arg(long, value_name = "SIZE", default_value = "4MiB", value_parser = size)]
    body_limit: usize,

    /// Refuse calls that ask for a webhook without a secret to sign it
    #[arg(long)]
    required_secret: bool,

    /// The proxy's own Ed25519 key, which signs every webhook; made when there is none. Given again,
    /// another key that signs as well, for a rotation
    #[arg(long, value_name = "FILE")]
    signing_key_file: Vec<PathBuf>,

    /// The path where the proxy itself answers with the public keys, such as /.well-known/jwks.json
    #[arg(long, value_name = "PATH", requires = "signing_key_file", value_parser = path)]
    pub(crate) keys_path: Option<String>,

    /// Where webhooks wait to be delivered: memory, or sqlite:PATH, which outlives the proxy
    #[arg(long, value_name = "OUTBOX", default_value = "memory")]
    outbox: Outbox,

    /// Answer calls that ask for a webhook with 503 while the outbox takes nothing; otherwise their
    /// webhooks wait in memory, and are lost with the proxy
    #[arg(long)]
    required_durability: bool,

    /// The key that seals secrets in the outbox; made when there is none. Default: PATH.key
    #[arg(long, value_name = "FILE")]
    outbox_key_file: Option<PathBuf>,

    /// Tell callers under this path what has become of their calls: PATH/RUN_ID, and PATH/RUN_ID/result while
    /// that is kept. Whoever asks has to bring the X-Webhook-Secret of the call
    #[arg(long, value_name = "PATH", value_parser = status_path)]
    pub(crate) status_path: Option<String>,

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
        let mut builder = Dispatcher::builder()
            .with_endpoint_policy(policy)
            .with_attempt_timeout(self.attempt_timeout)
            .with_retry_policy(self.retry.clone())
            .with_body_limit(self.body_limit);
        for file in &self.signing_key_file {
            let key = SigningKey::from_file_or_new(file)
                .map_err(|error| format!("--signing-key-file {}: {error}", file.display()))?;
            let public = key.public_key();
            tracing::info!(%public, kid = public.kid(), "this key signs webhooks");
            builder = builder.with_signing_key(key);
        }
        if self.required_durability {
            builder = builder.with_required_durability();
        }
        let keeps_payloads = self.status_path.is_some();
        self.outbox
            .dispatcher(self.outbox_key_file.as_deref(), keeps_payloads, builder)
    }

    pub(crate) fn layer(&self, dispatcher: &Dispatcher) -> WebhookLayer {
        let mut layer = WebhookLayer::new()
            .with_dispatcher(dispatcher.clone())
            .with_run_limit(self.max_run);
        if self.async_requests {
            layer = layer.with_longest_wait(self.longest_wait);
        }
        if let Some(path) = &self.status_path {
            layer = layer.with_status_location(path.clone());
        }
        if self.no_failure_notices {
            layer = layer.without_failure_notices();
        }
        if self.required_secret {
            layer = layer.with_required_secret();
        }
        if self.cancel_on_disconnect {
            layer = layer.with_cancel_on_disconnect();
        }
        layer
    }
}

/// Without a slash at its end.
fn status_path(text: &str) -> Result<String, &'static str> {
    let is_path = |byte: u8| byte.is_ascii_graphic() && !b"?#".contains(&byte);
    let path = text.trim_end_matches('/');
    match path.starts_with('/') && path.bytes().all(is_path) {
        true => Ok(path.to_owned()),
        false => Err("must be a path, such as /webhooks"),
    }
}

fn retry_policy(text: &str) -> Result<RetryPolicy, &'static str> {
    match text {
        "cerebrium" => Ok(RetryPolicy::cerebrium()),
        "patient" => Ok(RetryPolicy::patient()),
        "standard-webhooks" => Ok(RetryPolicy::standard_webhooks()),
        _ => Err("must be cerebrium, patient or standard-webhooks"),
    }
}

fn path(text: &str) -> Result<String, &'static str> {
    match text.starts_with('/') && !text.contains(['?', '#']) {
        true => Ok(text.to_owned()),
        false => Err("must be a path, such as /.well-known/jwks.json"),
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
