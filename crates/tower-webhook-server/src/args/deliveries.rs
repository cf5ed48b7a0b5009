use std::{error::Error, path::PathBuf, time::Duration};

use hyper::header::{HeaderName, HeaderValue};
use tower_webhook::{
    Dispatcher, RetryPolicy,
    delivery::{Brand, SigningKey},
    dispatch::DispatcherBuilder,
};

use super::values::longer_than_nothing;

/// How webhooks are sent.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Deliveries")]
pub(crate) struct DeliveryArgs {
    /// How long one attempt to deliver a webhook may take
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = longer_than_nothing)]
    attempt_timeout: Duration,

    /// When a delivery is tried again: cerebrium, patient or standard-webhooks
    #[arg(long, value_name = "POLICY", default_value = "cerebrium", value_parser = retry_policy)]
    retry: RetryPolicy,

    /// The times between attempts instead of the policy's, such as 5s,1m,10m: one attempt more than
    /// there are of them
    #[arg(long, value_name = "TIMES", value_delimiter = ',', value_parser = humantime::parse_duration)]
    retry_delays: Vec<Duration>,

    /// A header that every webhook has besides its own. May be given more than once; in the
    /// environment, one a line
    #[arg(long, value_name = "NAME: VALUE", value_delimiter = '\n', value_parser = header)]
    header: Vec<(HeaderName, HeaderValue)>,

    /// The name in X-NAME-Webhook-Signature and X-NAME-Webhook-Timestamp
    #[arg(long, value_name = "NAME", default_value = "Cerebrium", value_parser = Brand::new)]
    brand: Brand,

    /// An Ed25519 key of one's own, which signs every webhook; made when there is none. Given again,
    /// another key that signs as well, for a rotation; in the environment, one a line
    #[arg(long, value_name = "FILE", value_delimiter = '\n')]
    signing_key_file: Vec<PathBuf>,
}

impl DeliveryArgs {
    pub(crate) fn builder(&self) -> Result<DispatcherBuilder, Box<dyn Error>> {
        let retry = match &self.retry_delays[..] {
            [] => self.retry.clone(),
            delays => self.retry.clone().with_delays(delays.iter().copied()),
        };
        let mut builder = Dispatcher::builder()
            .with_attempt_timeout(self.attempt_timeout)
            .with_retry_policy(retry)
            .with_brand(self.brand.clone());
        for (name, value) in &self.header {
            builder = builder
                .with_header(name.clone(), value.clone())
                .map_err(|error| format!("--header {name}: {error}"))?;
        }
        for file in &self.signing_key_file {
            let key = SigningKey::from_file_or_new(file)
                .map_err(|error| format!("--signing-key-file {}: {error}", file.display()))?;
            let public = key.public_key();
            tracing::info!(%public, kid = public.kid(), "this key signs webhooks");
            builder = builder.with_signing_key(key);
        }
        Ok(builder)
    }

    /// Whether webhooks have signatures that the public keys verify.
    pub(crate) fn has_signing_key(&self) -> bool {
        !self.signing_key_file.is_empty()
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

fn header(text: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    let (name, value) = text
        .split_once(':')
        .ok_or("must have a colon, as in `X-Region: eu-1`")?;
    let name = name
        .trim()
        .parse()
        .map_err(|_| "the name before the colon is none of a header")?;
    let mut value: HeaderValue = value
        .trim()
        .parse()
        .map_err(|_| "the value after the colon is none of a header")?;
    // It may be a credential: no log shows it.
    value.set_sensitive(true);
    Ok((name, value))
}
