use std::time::Duration;

use hyper::header::HeaderName;
use tower_webhook::{Dispatcher, WebhookLayer, dispatch::DispatcherBuilder};

use super::values::{longer_than_nothing, number, path_without_slash, size};

/// What calls can ask for, and how long they may run.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Calls")]
pub(crate) struct CallArgs {
    /// A header that can name the endpoint as well, for callers who cannot set a query
    #[arg(long, value_name = "NAME")]
    endpoint_header: Option<HeaderName>,

    /// Refuse calls that ask for a webhook without a secret to sign it
    #[arg(long)]
    required_secret: bool,

    /// Answer calls that ask for it (async=true, or Prefer: respond-async) with a 202 at once
    #[arg(long)]
    async_requests: bool,

    /// How long such a call waits for its response at most, whatever it prefers
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    max_wait: Duration,

    /// End a call when its caller hangs up; otherwise it runs on, and its webhook is delivered
    #[arg(long)]
    cancel_on_disconnect: bool,

    /// How long a call may run that nobody waits for any more; then it ends, and its endpoint is told
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = longer_than_nothing)]
    max_run: Duration,

    /// Do not tell endpoints of webhooks whose response never becomes a delivery
    #[arg(long)]
    no_failure_notices: bool,

    /// Give the response of a call with a webhook the request id, as X-Request-Id, where it has none
    #[arg(long)]
    response_id: bool,

    /// Take what asks for a webhook out of what the service sees: the parameter, the secret
    #[arg(long)]
    hidden_request: bool,

    /// Tell callers under this path what has become of their calls: PATH/RUN_ID, and PATH/RUN_ID/result
    /// while that is kept. Whoever asks has to bring the X-Webhook-Secret of the call
    #[arg(long, value_name = "PATH", value_parser = path_without_slash)]
    status_path: Option<String>,

    /// The largest response that is forwarded, up to 1GiB
    #[arg(long, value_name = "SIZE", default_value = "4MiB", value_parser = size)]
    body_limit: usize,

    /// How many webhooks may be under way at once; calls that ask for more get a 503 [default: 4096]
    #[arg(long, value_name = "NUMBER", value_parser = number)]
    max_outstanding: Option<usize>,

    /// How many of them may be for one endpoint host [default: 1024]
    #[arg(long, value_name = "NUMBER", value_parser = number)]
    max_outstanding_per_host: Option<usize>,
}

impl CallArgs {
    pub(crate) fn layer(&self, dispatcher: &Dispatcher) -> WebhookLayer {
        let mut layer = WebhookLayer::new()
            .with_dispatcher(dispatcher.clone())
            .with_run_limit(self.max_run);
        if let Some(name) = &self.endpoint_header {
            layer = layer.with_endpoint_header(name.clone());
        }
        if self.required_secret {
            layer = layer.with_required_secret();
        }
        if self.async_requests {
            layer = layer.with_longest_wait(self.max_wait);
        }
        if self.cancel_on_disconnect {
            layer = layer.with_cancel_on_disconnect();
        }
        if self.no_failure_notices {
            layer = layer.without_failure_notices();
        }
        if self.response_id {
            layer = layer.with_response_id();
        }
        if self.hidden_request {
            layer = layer.with_hidden_request();
        }
        if let Some(path) = &self.status_path {
            layer = layer.with_status_location(path.clone());
        }
        layer
    }

    /// The builder with the bounds on what is admitted.
    pub(crate) fn bounds(&self, mut builder: DispatcherBuilder) -> DispatcherBuilder {
        builder = builder.with_body_limit(self.body_limit);
        if let Some(number) = self.max_outstanding {
            builder = builder.with_max_outstanding(number);
        }
        if let Some(number) = self.max_outstanding_per_host {
            builder = builder.with_max_outstanding_per_host(number);
        }
        builder
    }

    pub(crate) fn body_limit(&self) -> usize {
        self.body_limit
    }

    pub(crate) fn status_path(&self) -> Option<&str> {
        self.status_path.as_deref()
    }
}
