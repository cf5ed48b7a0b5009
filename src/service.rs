use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::{
    BodyType, Endpoint, ResponseFuture, Wrapped, config::Config, delivery::Draft,
    dispatch::Destination, problem::Problem, request::Wish, ticket::Ticket,
};

/// A service whose calls can ask for a webhook. Made by [`WebhookLayer`](crate::WebhookLayer).
#[derive(Clone, Debug)]
pub struct Webhook<S, T = Wrapped> {
    inner: S,
    config: Arc<Config>,
    body_type: T,
}

impl<S, T> Webhook<S, T> {
    pub(crate) fn new(inner: S, config: Arc<Config>, body_type: T) -> Self {
        Self {
            inner,
            config,
            body_type,
        }
    }

    /// The wrapped service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The wrapped service, mutable.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Unwraps the service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, T, ReqBody, ResBody> Service<Request<ReqBody>> for Webhook<S, T>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    S::Future: Send + 'static,
    S::Error: Send,
    ResBody: Body<Data = Bytes> + Send + 'static,
    T: BodyType<ResBody>,
{
    type Response = Response<T::Body>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, T>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let asked = self.config.destination(&request);
        match asked.and_then(|destination| self.config.admit(&mut request, destination)) {
            None => ResponseFuture::plain(self.inner.call(request)),
            Some(Ok(ticket)) => {
                ResponseFuture::taken(self.inner.call(request), ticket, self.body_type)
            }
            Some(Err(problem)) => ResponseFuture::refused(problem, self.body_type),
        }
    }
}

impl Config {
    fn destination<B>(&self, request: &Request<B>) -> Option<Result<Destination, Problem>> {
        let dispatcher = &self.dispatcher;
        let make = |endpoint: &str| dispatcher.destination(endpoint);
        self.reader
            .endpoint(request, dispatcher.recent_endpoints(), make)
    }

    /// Reads what a request wishes, if it has a wish, and takes room for it.
    fn admit<B>(
        self: &Arc<Self>,
        request: &mut Request<B>,
        destination: Result<Destination, Problem>,
    ) -> Option<Result<Ticket, Problem>> {
        let wish = self.reader.wish(request, destination)?;
        Some(self.take(request, wish))
    }

    fn take<B>(
        self: &Arc<Self>,
        request: &mut Request<B>,
        wish: Result<Wish<Destination>, Problem>,
    ) -> Result<Ticket, Problem> {
        let dispatcher = &self.dispatcher;
        let refused = |endpoint: Option<&Endpoint>, problem: Problem| {
            dispatcher.events().refused(endpoint, problem.refusal());
            problem
        };
        let Wish {
            id,
            endpoint: Destination { endpoint, of_host },
            secret,
        } = wish.map_err(|problem| refused(None, problem))?;
        let room = dispatcher
            .admit(of_host)
            .map_err(|refusal| refused(Some(&endpoint), Problem::NoRoom(refusal)))?;
        request.extensions_mut().insert(id.clone());
        let draft = Draft::new(id, endpoint, secret, room);
        let asked_for_head = request.method() == Method::HEAD;
        Ok(Ticket::new(Arc::clone(self), draft, asked_for_head))
    }
}
