//! What a layer was told, for those who describe it to people.

use std::time::Duration;

use http::StatusCode;

use super::WebhookLayer;
use crate::{ask::Reader, dispatch::Dispatcher};

impl WebhookLayer {
    pub(crate) fn reader(&self) -> &Reader {
        &self.config.reader
    }

    pub(crate) fn dispatcher(&self) -> &Dispatcher {
        &self.config.dispatcher
    }

    /// How long a call waits at most before it gets a 202; `None` where none does.
    pub(crate) fn longest_wait(&self) -> Option<Duration> {
        let promises = self.config.promises.as_ref();
        promises.map(|promises| promises.longest_wait)
    }

    pub(crate) fn has_status(&self) -> bool {
        self.config.status_location.is_some()
    }

    pub(crate) fn has_failure_notices(&self) -> bool {
        self.config.wishes.tells_failures
    }

    /// Whether a response with this status goes to the endpoint.
    pub(crate) fn forwards(&self, status: StatusCode) -> bool {
        (self.config.forwards)(status)
    }
}
