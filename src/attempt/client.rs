#[cfg(feature = "client")]
use std::time::Duration;
use std::{
    future::{Future, poll_fn},
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::{Arc, OnceLock},
};

use futures_util::FutureExt;
#[cfg(feature = "client")]
use futures_util::future::Either;
use http::{Request, Response, Uri};
use http_body::Body;
use tower_service::Service;

use super::{
    answer::{self, ReadBody, briefly},
    error::classify,
};
#[cfg(feature = "client")]
use super::{
    guarded::{GuardedClient, GuardedSettings},
    sockets::SocketShares,
};
#[cfg(feature = "client")]
use crate::endpoint::EndpointPolicy;
use crate::{
    delivery::Payload,
    endpoint::Endpoint,
    error::BoxError,
    event::{AttemptError, Outcome},
};

/// The client that posts: the crate's own, or a user-supplied one.
pub(crate) enum Client {
    #[cfg(feature = "client")]
    Guarded(Box<GuardedClient>),
    Own(Arc<dyn Exchange>),
}

impl Client {
    pub(crate) fn of<C, B>(client: C) -> Self
    where
        C: Service<Request<Payload>, Response = Response<B>> + Clone + Send + Sync + 'static,
        C::Future: Send,
        C::Error: Into<BoxError>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        Self::Own(Arc::new(client))
    }

    #[cfg(feature = "client")]
    pub(crate) fn guarded(
        policy: &EndpointPolicy,
        settings: GuardedSettings,
        sockets: SocketShares,
        attempt_timeout: Duration,
        attempts_per_host: usize,
    ) -> Self {
        Self::Guarded(Box::new(GuardedClient::new(
            policy,
            settings,
            sockets,
            attempt_timeout,
            attempts_per_host,
        )))
    }

    /// For a dispatcher that hands its deliveries to a sink.
    #[cfg(not(feature = "client"))]
    pub(crate) fn none() -> Self {
        Self::of(tower::service_fn(|_| async {
            Err::<Response<Payload>, _>(BoxError::from("there is no client"))
        }))
    }

    /// The crate's own client says so.
    #[cfg(feature = "metrics")]
    pub(super) fn in_use(&self) -> Option<crate::event::metrics::ClientUse> {
        match self {
            #[cfg(feature = "client")]
            Self::Guarded(client) => Some(client.in_use()),
            Self::Own(_) => None,
        }
    }

    /// Whether its requests must carry a `Host` header: a user-supplied client sets it itself.
    pub(crate) fn wants_host(&self) -> bool {
        match self {
            #[cfg(feature = "client")]
            Self::Guarded(_) => true,
            Self::Own(_) => false,
        }
    }

    /// The URI of its requests: a user-supplied client needs the whole endpoint.
    pub(crate) fn target(&self, endpoint: &Endpoint) -> Uri {
        match self {
            #[cfg(feature = "client")]
            Self::Guarded(_) => endpoint.origin_form(),
            Self::Own(_) => endpoint.uri().clone(),
        }
    }

    /// Posts a request. `request` may be called again, and must then build the same one.
    ///
    /// `answered` is set as soon as the head of the answer is complete, while it may still be open
    /// whether the connection can be kept. An attempt whose deadline passes in between relies on it.
    pub(crate) fn post<'a>(
        &'a self,
        endpoint: &'a Endpoint,
        request: impl Fn() -> Request<Payload> + Send + 'a,
        answered: &'a OnceLock<Outcome>,
    ) -> impl Future<Output = Result<Outcome, AttemptError>> + 'a {
        #[cfg(feature = "client")]
        match self {
            Self::Guarded(client) => Either::Left(client.post(endpoint, request, answered)),
            Self::Own(client) => Either::Right(client.exchange(request(), answered)),
        }
        #[cfg(not(feature = "client"))]
        {
            let _ = endpoint;
            let Self::Own(client) = self;
            client.exchange(request(), answered)
        }
    }
}

/// A user-supplied client with its types erased.
pub(crate) trait Exchange: Send + Sync {
    fn exchange<'a>(
        &self,
        request: Request<Payload>,
        answered: &'a OnceLock<Outcome>,
    ) -> ExchangeFuture<'a>;
}

type ExchangeFuture<'a> = Pin<Box<dyn Future<Output = Result<Outcome, AttemptError>> + Send + 'a>>;

impl<C, B> Exchange for C
where
    C: Service<Request<Payload>, Response = Response<B>> + Clone + Send + Sync + 'static,
    C::Future: Send,
    C::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    fn exchange<'a>(
        &self,
        request: Request<Payload>,
        answered: &'a OnceLock<Outcome>,
    ) -> ExchangeFuture<'a> {
        let mut client = self.clone();
        Box::pin(async move {
            let failed = |error: C::Error| classify(&*error.into());
            let ready = poll_fn(|cx| client.poll_ready(cx)).await;
            ready.map_err(failed)?;
            // In one expression: a future that is bound to a variable first takes its size twice.
            let response = client.call(request).await.map_err(failed)?;
            let outcome = answer::outcome(&response);
            let _ = answered.set(outcome);
            // The status decides, even where the body panics.
            let reading = AssertUnwindSafe(ReadBody::new(response.into_body())).catch_unwind();
            let _ = briefly(pin!(reading)).await;
            Ok(outcome)
        })
    }
}
