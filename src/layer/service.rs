use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header::CONTENT_TYPE};
use http_body::Body;
use tower_service::Service;

use super::{
    ResponseBody, ResponseFuture,
    config::{CallerKey, Config},
    receipt::Receipt,
};
use crate::{
    ask::{Ask, Problem, Promise, is_delivery},
    delivery::{DeliveryParts, Payload},
    dispatch::Destination,
    endpoint::Endpoint,
    response::{Call, Disconnect, PendingWebhook},
};

/// A service whose calls can ask for a webhook. Made by [`WebhookLayer`](super::WebhookLayer).
#[derive(Clone, Debug)]
pub struct Webhook<S> {
    inner: S,
    config: Arc<Config>,
}

impl<S> Webhook<S> {
    pub(super) fn new(inner: S, config: Arc<Config>) -> Self {
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
    ResBody::Error: Send + 'static,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        match self.config.destination(&request) {
            Some(destination) => self.call_asking(request, destination),
            None if self.config.status_location.is_some() => self.call_without_endpoint(request),
            None => ResponseFuture::plain(self.inner.call(request)),
        }
    }
}

impl<S> Webhook<S> {
    /// Where the status of calls is mounted.
    #[inline(never)]
    fn call_without_endpoint<ReqBody, ResBody>(
        &mut self,
        request: Request<ReqBody>,
    ) -> ResponseFuture<S::Future, ResBody>
    where
        S: Service<Request<ReqBody>, Response = Response<ResBody>>,
        S::Future: Send + 'static,
        S::Error: Send,
        ResBody: Body<Data = Bytes> + Send + 'static,
        ResBody::Error: Send + 'static,
    {
        match self.config.polling(&request) {
            Some(destination) => self.call_asking(request, Ok(destination)),
            None => ResponseFuture::plain(self.inner.call(request)),
        }
    }

    /// Apart, so that whoever asks for nothing pays nothing for it.
    #[inline(never)]
    fn call_asking<ReqBody, ResBody>(
        &mut self,
        mut request: Request<ReqBody>,
        destination: Result<Destination, Problem>,
    ) -> ResponseFuture<S::Future, ResBody>
    where
        S: Service<Request<ReqBody>, Response = Response<ResBody>>,
        S::Future: Send + 'static,
        S::Error: Send,
        ResBody: Body<Data = Bytes> + Send + 'static,
        ResBody::Error: Send + 'static,
    {
        let config = &self.config;
        // Who calls, where callers are told apart.
        let mut caller = None;
        if let Some(CallerKey(key)) = &config.caller_key {
            let (parts, body) = request.into_parts();
            caller = key(&parts);
            request = Request::from_parts(parts, body);
        }
        match config.admit(&mut request, destination, caller.as_deref()) {
            None => ResponseFuture::plain(self.inner.call(request)),
            Some(Err(problem)) => ResponseFuture::refused(problem),
            Some(Ok(pending)) => {
                let receipt = config.receipt(&request, &pending);
                let disconnect = match receipt {
                    // It was promised that it runs on.
                    Some(_) => Disconnect::RunOn,
                    None => config.disconnect,
                };
                if config.hides_request {
                    config.reader.hide(&mut request, config.promises.as_ref());
                }
                let call = Call::begin(pending);
                let future = self.inner.call(request);
                let pending = call.has_returned();
                ResponseFuture::running(future, pending, disconnect, config.forwards, receipt)
            }
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

    /// Where a call leads that names no endpoint, wants no more than a receipt, and whose result can be
    /// looked up. A delivery that comes here as its receiver is a call as any other: nothing is sent on.
    fn polling<B>(&self, request: &Request<B>) -> Option<Destination> {
        self.promise(request)?;
        let destination = self.dispatcher.polling()?;
        (!is_delivery(request.headers())).then_some(destination)
    }

    /// What a call gets in place of its response, where it wants no more.
    fn receipt<B>(&self, request: &Request<B>, pending: &PendingWebhook) -> Option<Receipt> {
        let promise = self.promise(request)?;
        let run_id = pending.request_id();
        let location = self.status_location.as_ref();
        let location = location.map(|location| format!("{location}/{}", run_id.as_str()));
        Some(Receipt::new(promise, run_id.clone(), location))
    }

    /// `None` for a call that waits for its response, or whose client can read no 202.
    fn promise<B>(&self, request: &Request<B>) -> Option<Promise> {
        let query = request.uri().query().unwrap_or_default();
        let headers = request.headers();
        let promise = self.promises.as_ref()?.read(query, headers)?;
        let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        let is_grpc = content_type.is_some_and(|of| of.starts_with(b"application/grpc"));
        (!is_grpc).then_some(promise)
    }

    /// Reads what a request asks for, if it asks, and holds a reservation for it.
    fn admit<B>(
        &self,
        request: &mut Request<B>,
        destination: Result<Destination, Problem>,
        caller: Option<&str>,
    ) -> Option<Result<PendingWebhook, Problem>> {
        let ask = self.reader.ask(request, destination)?;
        Some(self.reserve(request, ask, caller))
    }

    fn reserve<B>(
        &self,
        request: &mut Request<B>,
        ask: Result<Ask<Destination>, Problem>,
        caller: Option<&str>,
    ) -> Result<PendingWebhook, Problem> {
        let dispatcher = &self.dispatcher;
        let refused = |endpoint: Option<&Endpoint>, problem: Problem| {
            let events = dispatcher.events();
            events.refused(endpoint, problem.refusal(), problem.detail());
            problem
        };
        let Ask {
            request_id,
            endpoint: Destination { endpoint, of_host },
            secret,
            trace_parent,
        } = ask.map_err(|problem| refused(None, problem))?;
        let reservation = dispatcher
            .reserve(of_host, caller)
            .map_err(|refusal| refused(Some(&endpoint), Problem::NoRoom(refusal)))?;
        let mut parts = DeliveryParts::of_request(request_id, endpoint, Payload::default());
        // There is no response yet.
        parts.status = None;
        parts.secret = secret;
        parts.trace_parent = dispatcher.trace_of_call(trace_parent);
        let extensions = request.extensions_mut();
        extensions.insert(parts.request_id.clone());
        Ok(PendingWebhook::new(
            dispatcher.clone(),
            parts,
            reservation,
            request,
            Arc::clone(&self.wishes),
        ))
    }
}
