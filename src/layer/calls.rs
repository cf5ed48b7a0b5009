//! How long calls run, what they get in place of a response, and what of that they see.

use std::{borrow::Cow, time::Duration};

use super::WebhookLayer;
use crate::{ask::PromiseReader, response::Disconnect};

/// As many proxies wait no longer.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

impl WebhookLayer {
    /// Ends a request whose caller has left, as it would end without a webhook; its webhook ends
    /// as [failed](crate::event::FailReason::CallerLeft). Default: the request runs on, and its response
    /// is delivered.
    #[must_use]
    pub fn with_cancel_on_disconnect(mut self) -> Self {
        self.config_mut().disconnect = Disconnect::Cancel;
        self
    }

    /// How long a call may take that nobody waits for any more. Default: 15 minutes, Cerebrium's grace
    /// period.
    ///
    /// The time begins when the caller leaves. After it handler and response end, and the webhook ends
    /// as [failed](crate::event::FailReason::TimedOut). So no caller holds room for ever by leaving.
    /// Beside that, calls that nobody waits for hold half of the room at most, in all and of a host:
    /// beyond it the one that was left first [ends](crate::event::FailReason::NoRoom).
    #[must_use]
    pub fn with_run_limit(mut self, limit: Duration) -> Self {
        self.wishes_mut().run_limit = limit;
        self
    }

    /// Lets calls ask for a `202 Accepted` in place of a response that takes long, as Cerebrium's "Async
    /// requests" and RFC 7240 have it. Default: every call waits for its response.
    ///
    /// | a call that names an endpoint says | it gets |
    /// | --- | --- |
    /// | `async=true` in its query, or `Prefer: respond-async` | a 202 at once |
    /// | `Prefer: respond-async, wait=N` | its response, where the head of that is there within N seconds, [60 at most](Self::with_longest_wait); else a 202 |
    ///
    /// The 202 has `{"run_id":"…"}`, `X-Request-Id`, and `Preference-Applied` where it was preferred. The
    /// call runs on, for as long as the [run limit](Self::with_run_limit) lets it, and its response goes
    /// to the endpoint. With a durable outbox, that it runs is recorded before the 202: where the process
    /// ends first, the next one tells the endpoint so by a failure notice,
    /// [`interrupted`](crate::event::FailReason::Interrupted).
    ///
    /// Admission is that of other calls. Calls with a 202 hold their slots until they end, whoever else
    /// comes. Never asynchronous are upgrades, and gRPC calls: their clients can read no 202.
    #[must_use]
    pub fn with_async_requests(mut self) -> Self {
        self.config_mut().promises = Some(PromiseReader::new(LONGEST_WAIT));
        self
    }

    /// How long a call waits at most before it gets a 202, whatever it prefers. Default: 60 seconds, as
    /// many proxies wait no longer. Turns [asynchronous requests](Self::with_async_requests) on.
    #[must_use]
    pub fn with_longest_wait(mut self, wait: Duration) -> Self {
        self.config_mut().promises = Some(PromiseReader::new(wait));
        self
    }

    /// Gives the response of a call with a webhook the request id, as `X-Request-Id`, where it has none.
    /// Default: the response is the handler's own.
    ///
    /// The caller then knows by which id the webhook will come, where it brought none.
    #[must_use]
    pub fn with_response_id(mut self) -> Self {
        self.wishes_mut().shows_id = true;
        self
    }

    /// Takes what asks for a webhook out of what the handler sees: the parameter, the secret's header,
    /// the [endpoint's header](Self::with_endpoint_header), and `async` where calls can be
    /// [asynchronous](Self::with_async_requests). Default: the request is as the caller sent it.
    ///
    /// For handlers that refuse parameters that they do not know, or that log what they get. All else of
    /// the query stays byte for byte.
    #[must_use]
    pub fn with_hidden_request(mut self) -> Self {
        self.config_mut().hides_request = true;
        self
    }

    /// Says in each [202](Self::with_async_requests) where to look what has become of the call, in
    /// `Location`: this path or URL, a `/`, and the run id. Default: no `Location`.
    ///
    /// Callers can then do without an endpoint: a call that [asks for a 202](Self::with_async_requests) gets
    /// it all the same, nothing is sent anywhere, and whoever made it looks its result up. Such calls take
    /// room as those for one host do. They are as others are where the request is itself a
    /// delivery, an outbox cannot [list](crate::outbox::Limits::can_list) what it keeps, or deliveries go to
    /// a [sink](crate::dispatch::DispatcherBuilder::with_sink) or are
    /// [forwarded](crate::dispatch::DispatcherBuilder::with_forwarding).
    ///
    /// It is where the operator has mounted the [status](crate::status()) of calls, as callers see it:
    ///
    /// ```
    /// use tower_webhook::WebhookLayer;
    ///
    /// let layer = WebhookLayer::new()
    ///     .with_async_requests()
    ///     .with_status_location("/webhooks");
    /// ```
    ///
    /// # Panics
    ///
    /// When it has characters that no URL has: others than visible ASCII.
    #[must_use]
    pub fn with_status_location(mut self, location: impl Into<Cow<'static, str>>) -> Self {
        let mut location = location.into();
        let is_visible = location.bytes().all(|byte| byte.is_ascii_graphic());
        assert!(is_visible, "a location is visible ASCII");
        if let Some(shorter) = location.strip_suffix('/') {
            location = shorter.to_owned().into();
        }
        self.config_mut().status_location = Some(location);
        self
    }
}
