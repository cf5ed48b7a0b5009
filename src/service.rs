use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::{
    ResponseBody, ResponseFuture, config::Config, problem::Problem, request::Wish, ticket::Ticket,
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
        if !self.config.reader.is_asked(&request) {
            return ResponseFuture::plain(self.inner.call(request));
        }
        match self.config.admit(&mut request) {
            Ok(ticket) => {
                let config = Arc::clone(&self.config);
                ResponseFuture::taken(self.inner.call(request), ticket, config)
            }
            Err(problem) => ResponseFuture::refused(problem),
        }
    }
}

impl Config {
    /// Reads what a request wishes, and takes room for it.
    fn admit<B>(&self, request: &mut Request<B>) -> Result<Ticket, Problem> {
        let dispatcher = &self.dispatcher;
        let refused = |endpoint: Option<_>, problem: Problem| {
            dispatcher.events().refused(endpoint, problem.refusal());
            problem
        };
        let Wish {
            id,
            endpoint,
            secret,
        } = self
            .reader
            .read(request, dispatcher.policy(), dispatcher.recent_endpoints())
            .map_err(|problem| refused(None, problem))?;
        let room = dispatcher
            .admit(endpoint.host_key())
            .map_err(|refusal| refused(Some(&endpoint), Problem::NoRoom(refusal)))?;
        request.extensions_mut().insert(id.clone());
        let method = request.method().clone();
        let dispatcher = dispatcher.clone();
        Ok(Ticket::new(dispatcher, room, id, endpoint, secret, method))
    }
}
