use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::{HeaderName, Method, Request, Response, request};
use tokio::time::{Instant, sleep_until};
use tower_service::Service;

use super::answer;
use crate::{
    delivery::{Delivery, Payload},
    dispatch::Dispatcher,
    error::BoxError,
    id::RequestId,
    outbox::{DeliveryRecord, DeliveryState},
};

/// Tells callers what has become of their calls: see the [module](mod@crate::status).
///
/// With every default: only a call's own secret opens it.
#[must_use]
pub fn status(dispatcher: &Dispatcher) -> Status {
    Status {
        dispatcher: dispatcher.clone(),
        settings: Arc::new(Settings {
            secret_header: HeaderName::from_static("x-webhook-secret"),
            access: None,
        }),
    }
}

/// The service that [`status`] makes. Cheap to clone, and always ready.
#[derive(Clone)]
pub struct Status {
    dispatcher: Dispatcher,
    settings: Arc<Settings>,
}

#[derive(Clone)]
struct Settings {
    secret_header: HeaderName,
    access: Option<Arc<Access>>,
}

type Access = dyn Fn(&request::Parts, &DeliveryRecord) -> bool + Send + Sync;

/// The longest secret that a call can have had, in bytes.
const MAX_SECRET: usize = 1_024;

/// Whatever is refused is refused then, or at a multiple of it: its time says nothing.
const REFUSED_AFTER: Duration = Duration::from_millis(50);

impl Status {
    /// The header in which callers bring their secret. Default: `X-Webhook-Secret`, as the
    /// [layer's](crate::WebhookLayer::with_secret_header).
    #[must_use]
    pub fn with_secret_header(mut self, name: HeaderName) -> Self {
        Arc::make_mut(&mut self.settings).secret_header = name;
        self
    }

    /// Lets requests look that pass this check, beside those that bring the secret. Default: none.
    ///
    /// It is asked with the request's head and with each call of that id, the newest first. Calls that were
    /// made without a secret are seen by nobody else.
    #[must_use]
    pub fn with_access(
        mut self,
        may_look: impl Fn(&request::Parts, &DeliveryRecord) -> bool + Send + Sync + 'static,
    ) -> Self {
        Arc::make_mut(&mut self.settings).access = Some(Arc::new(may_look));
        self
    }

    async fn answer(self, head: request::Parts) -> Response<Payload> {
        match head.method {
            Method::GET => self.get(head).await,
            Method::HEAD => answer::of_head(self.get(head).await),
            _ => answer::wrong_method(),
        }
    }

    async fn get(self, head: request::Parts) -> Response<Payload> {
        let begun = Instant::now();
        match self.look_up(&head).await {
            Ok(Some(answer)) => answer,
            Ok(None) => {
                let steps = begun.elapsed().as_millis() / REFUSED_AFTER.as_millis() + 1;
                let steps = u32::try_from(steps).unwrap_or(u32::MAX);
                sleep_until(begun + REFUSED_AFTER.saturating_mul(steps)).await;
                answer::not_found()
            }
            Err(error) => {
                tracing::error!(%error, "the outbox cannot say what has become of a call");
                answer::unavailable()
            }
        }
    }

    /// `None` for what is refused.
    async fn look_up(&self, head: &request::Parts) -> Result<Option<Response<Payload>>, BoxError> {
        let Some((id, wants_result)) = asked(head.uri.path()) else {
            return Ok(None);
        };
        let secret = self.secret(head);
        if secret.is_none() && self.settings.access.is_none() {
            return Ok(None);
        }
        let may_look = |record: &DeliveryRecord, delivery: Option<&Delivery>| {
            let has_secret = delivery
                .and_then(Delivery::secret)
                .zip(secret)
                .is_some_and(|(secret, given)| secret.is(given));
            let access = self.settings.access.as_ref();
            has_secret || access.is_some_and(|access| access(head, record))
        };
        let Some(call) = self.dispatcher.call(&id, may_look).await? else {
            return Ok(None);
        };
        let record = &call.record;
        if !wants_result {
            return Ok(Some(answer::state(record)));
        }
        if record.state == DeliveryState::Running {
            return Ok(Some(answer::not_yet(record)));
        }
        let result = self.dispatcher.result(&call).await?;
        let result = result.map_or_else(answer::not_kept, |delivery| answer::result(&delivery));
        Ok(Some(result))
    }

    fn secret<'h>(&self, head: &'h request::Parts) -> Option<&'h [u8]> {
        let mut values = head.headers.get_all(&self.settings.secret_header).iter();
        match (values.next(), values.next()) {
            (Some(secret), None) => {
                Some(secret.as_bytes()).filter(|secret| secret.len() <= MAX_SECRET)
            }
            _ => None,
        }
    }
}

/// The run id in a path, and whether it is its result that is asked for.
fn asked(path: &str) -> Option<(RequestId, bool)> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let (before, last) = path.rsplit_once('/')?;
    if last != "result" || before.is_empty() {
        return Some((RequestId::parse(last)?, false));
    }
    let (_, id) = before.rsplit_once('/')?;
    Some((RequestId::parse(id)?, true))
}

impl<B> Service<Request<B>> for Status {
    type Response = Response<Payload>;
    type Error = Infallible;
    type Future = StatusFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> StatusFuture {
        let (head, _) = request.into_parts();
        StatusFuture(Box::pin(self.clone().answer(head)))
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Status")
            .field("secret_header", &self.settings.secret_header)
            .finish_non_exhaustive()
    }
}

/// The future of a [`Status`].
pub struct StatusFuture(BoxFuture<'static, Response<Payload>>);

impl Future for StatusFuture {
    type Output = Result<Response<Payload>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx).map(Ok)
    }
}

impl fmt::Debug for StatusFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StatusFuture")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_path_says_what_is_asked_for() {
        for (path, is) in [
            ("/run-1", Some(("run-1", false))),
            ("/run-1/", Some(("run-1", false))),
            ("/webhooks/run-1", Some(("run-1", false))),
            ("/run-1/result", Some(("run-1", true))),
            ("/webhooks/run-1/result", Some(("run-1", true))),
            ("/result", Some(("result", false))),
            ("/result/result", Some(("result", true))),
            ("/", None),
            ("", None),
            ("/run.1", None),
            ("//result", None),
            ("/run%2D1", None),
        ] {
            let asked = asked(path);
            let asked = asked.as_ref().map(|(id, result)| (id.as_str(), *result));
            assert_eq!(asked, is, "{path}");
        }
    }
}
