use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::{
    Endpoint, ResponseBody, ResponseFuture, config::Config, problem::Problem, request::Wish,
    ticket::Ticket,
};

/// A service whose calls can ask for a webhook. Made by [`WebhookLayer`](crate::WebhookLayer).
#[derive(Clone, Debug)]
pub struct Webhook<S> {
    inner: S,
    config: Arc<Config>,
}

impl<S> Webhook<S> {
    pub(crate) fn new(inner: S, config: Arc<Config>) -> Self {
        Self { inner, config }
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

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Webhook<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    S::Future: Send + 'static,
    S::Error: Send,
    ResBody: Body<Data = Bytes> + Send + 'static,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let asked = self.config.endpoint(&request);
        match asked.and_then(|endpoint| self.config.admit(&mut request, endpoint)) {
            None => ResponseFuture::plain(self.inner.call(request)),
            Some(Ok(ticket)) => {
                let config = Arc::clone(&self.config);
                ResponseFuture::taken(self.inner.call(request), ticket, config)
            }
            Some(Err(problem)) => ResponseFuture::refused(problem),
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
        &self,
        request: &mut Request<B>,
        endpoint: Result<Endpoint, Problem>,
    ) -> Option<Result<Ticket, Problem>> {
        let wish = self.reader.wish(request, endpoint)?;
        Some(self.take(request, wish))
    }

    fn take<B>(
        &self,
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
        Ok(Ticket::new(dispatcher.clone(), room, wish, asked_for_head))
    }
}
