use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::{
    BodyType, Endpoint, ResponseFuture, Wrapped, config::Config, problem::Problem, request::Wish,
    ticket::Ticket,
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
        let asked = self.config.endpoint(&request);
        match asked.and_then(|endpoint| self.config.admit(&mut request, endpoint)) {
            None => ResponseFuture::plain(self.inner.call(request)),
            Some(Ok(ticket)) => {
                ResponseFuture::taken(self.inner.call(request), ticket, self.body_type)
            }
            Some(Err(problem)) => ResponseFuture::refused(problem, self.body_type),
        }
    }
}

impl Config {
    fn endpoint<B>(&self, request: &Request<B>) -> Option<Result<Endpoint, Problem>> {
        let (policy, recent) = (self.dispatcher.policy(), self.dispatcher.recent_endpoints());
        self.reader.endpoint(request, policy, recent)
    }

    /// Reads what a request wishes, if it has a wish, and takes room for it.
    fn admit<B>(
        self: &Arc<Self>,
        request: &mut Request<B>,
        endpoint: Result<Endpoint, Problem>,
    ) -> Option<Result<Ticket, Problem>> {
        let wish = self.reader.wish(request, endpoint)?;
        Some(self.take(request, wish))
    }

    fn take<B>(
        self: &Arc<Self>,
        request: &mut Request<B>,
        wish: Result<Wish, Problem>,
    ) -> Result<Ticket, Problem> {
        let dispatcher = &self.dispatcher;
        let refused = |endpoint: Option<&_>, problem: Problem| {
            dispatcher.events().refused(endpoint, problem.refusal());
            problem
        };
        let wish = wish.map_err(|problem| refused(None, problem))?;
        let room = dispatcher
            .admit(wish.endpoint.host_key())
            .map_err(|refusal| refused(Some(&wish.endpoint), Problem::NoRoom(refusal)))?;
        request.extensions_mut().insert(wish.id.clone());
        let asked_for_head = request.method() == Method::HEAD;
        Ok(Ticket::new(Arc::clone(self), room, wish, asked_for_head))
    }
}
