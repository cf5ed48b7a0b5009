use std::time::{Duration, SystemTime};

use tower_webhook::{
    DeliveryId, RequestId,
    outbox::{DeliveryFilter, DeliveryState},
};

/// Which deliveries are meant.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Which")]
pub(super) struct FilterArgs {
    /// Only those in this state: running, waiting, dead, delivered or failed
    #[arg(long, value_name = "STATE", value_parser = state)]
    pub(super) state: Option<DeliveryState>,

    /// Only those to this host
    #[arg(long, value_name = "NAME")]
    host: Option<String>,

    /// Only those of calls with this X-Request-Id, or run id
    #[arg(long, value_name = "ID", value_parser = request_id)]
    request_id: Option<RequestId>,

    /// Only those accepted since then: 2026-01-31T12:00:00Z, or as long ago as 1h
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<SystemTime>,

    /// Only those accepted before then
    #[arg(long, value_name = "TIME", value_parser = time)]
    before: Option<SystemTime>,
}

impl FilterArgs {
    pub(super) fn filter(&self) -> DeliveryFilter {
        let mut filter = DeliveryFilter::new();
        if let Some(state) = self.state {
            filter = filter.with_state(state);
        }
        if let Some(host) = &self.host {
            filter = filter.with_endpoint_host(host.trim_end_matches('.').to_lowercase());
        }
        if let Some(id) = &self.request_id {
            filter = filter.with_request_id(id.clone());
        }
        if let Some(since) = self.since {
            filter = filter.accepted_since(since);
        }
        if let Some(before) = self.before {
            filter = filter.accepted_before(before);
        }
        filter
    }

    /// Whether all are meant.
    pub(super) fn is_empty(&self) -> bool {
        self.state.is_none()
            && self.host.is_none()
            && self.request_id.is_none()
            && self.since.is_none()
            && self.before.is_none()
    }
}

pub(super) fn delivery_id(text: &str) -> Result<DeliveryId, &'static str> {
    DeliveryId::parse(text).ok_or("must be a delivery's id, such as `list` shows them")
}

fn state(text: &str) -> Result<DeliveryState, &'static str> {
    let named = DeliveryState::ALL.iter().find(|state| state.name() == text);
    named
        .copied()
        .ok_or("must be running, waiting, dead, delivered or failed")
}

fn request_id(text: &str) -> Result<RequestId, &'static str> {
    RequestId::parse(text).ok_or("must be 1 to 128 of A-Z a-z 0-9 _ -")
}

fn time(text: &str) -> Result<SystemTime, &'static str> {
    if let Ok(time) = humantime::parse_rfc3339(text) {
        return Ok(time);
    }
    let ago = |ago: Duration| SystemTime::now().checked_sub(ago);
    let ago = humantime::parse_duration(text).ok().and_then(ago);
    ago.ok_or("must be a time such as 2026-01-31T12:00:00Z, or as long ago as 1h")
}
