use std::{
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Version};

use super::{kept, notice, wait_on};
use crate::{
    admission::{Cut, Reservation},
    delivery::{
        Delivery, DeliveryParts, Payload,
        wire::{FORWARDED, GRPC_MESSAGE, GRPC_STATUS, REQUEST_ID},
    },
    dispatch::{AcceptFuture, Dispatcher},
    event::{EventKind, FailReason},
    id::{DeliveryId, RequestId},
};

/// An accepted webhook whose response is not complete yet.
///
/// It ends in exactly one way: as a delivery, as failed, or, dropped, as abandoned; dropped by a
/// panic, it has failed. The delivery in it sees to that, which is there from the beginning.
pub(crate) struct PendingWebhook {
    delivery: Delivery,
    dispatcher: Dispatcher,
    wishes: Arc<Wishes>,
    /// Whether the request was a `HEAD`.
    asked_for_head: bool,
    /// Whether its protocol can carry trailers behind a body of a declared length.
    may_have_trailers: bool,
    /// It has had a 202.
    promise: Option<Box<Promise>>,
    /// Bytes that are reserved.
    reserved: usize,
    /// Bytes of the headers that are kept.
    headers_len: usize,
}

/// What the operator wants of pending webhooks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wishes {
    /// Whether an endpoint is told that there is no response.
    pub(crate) tells_failures: bool,
    /// Whether a response gets the request id where it has none.
    pub(crate) shows_id: bool,
    /// How long a call may take that nobody waits for any more.
    pub(crate) run_limit: Duration,
}

impl PendingWebhook {
    /// Takes a request in hand, for which there is room.
    pub(crate) fn new<B>(
        dispatcher: Dispatcher,
        parts: DeliveryParts,
        reservation: Reservation,
        request: &Request<B>,
        wishes: Arc<Wishes>,
    ) -> Self {
        let reserved = reservation.bytes();
        let delivery = Delivery::pending(parts, reservation);
        delivery.report(EventKind::Accepted);
        Self {
            delivery,
            dispatcher,
            wishes,
            asked_for_head: request.method() == Method::HEAD,
            may_have_trailers: request.version() > Version::HTTP_11,
            promise: None,
            reserved,
            headers_len: 0,
        }
    }

    pub(crate) fn request_id(&self) -> &RequestId {
        self.delivery.request_id()
    }

    pub(crate) fn run_limit(&self) -> Duration {
        self.wishes.run_limit
    }

    pub(crate) fn asked_for_head(&self) -> bool {
        self.asked_for_head
    }

    pub(crate) fn may_have_trailers(&self) -> bool {
        self.may_have_trailers
    }

    pub(crate) fn dispatcher(&self) -> &Dispatcher {
        &self.dispatcher
    }

    /// Shows the caller the request id, where that is wanted and the response has none.
    pub(crate) fn show_id<B>(&self, response: &mut Response<B>) {
        if self.wishes.shows_id {
            let id = HeaderValue::from_str(self.request_id().as_str());
            let id = id.expect("an id is visible ASCII");
            response.headers_mut().entry(&REQUEST_ID).or_insert(id);
        }
    }

    /// Notes what is forwarded of the response's head.
    pub(crate) fn note_head<B>(&mut self, response: &Response<B>) {
        let parts = self.delivery.parts_mut();
        parts.status = Some(response.status());
        parts.headers = kept::select(response.headers(), &FORWARDED);
        self.headers_len = kept::cap(&mut parts.headers);
    }

    /// Notes what is forwarded of the trailers: a gRPC call's status is there. Says whether there is
    /// room for them, beside a body of that length.
    pub(crate) fn note_trailers(&mut self, trailers: &HeaderMap, body: usize) -> bool {
        let grpc = kept::select(trailers, &[GRPC_STATUS, GRPC_MESSAGE]);
        if grpc.is_empty() {
            return true;
        }
        let headers = &mut self.delivery.parts_mut().headers;
        let replaced = |name: &HeaderName| grpc.iter().any(|(new, _)| new == name);
        headers.retain(|(name, _)| !replaced(name));
        headers.extend(grpc);
        self.headers_len = kept::cap(headers);
        self.grow_to(body)
    }

    /// A body of that length is to come, if it is known.
    pub(crate) fn expect_body(&mut self, declared: Option<u64>) -> Result<(), FailReason> {
        let limit = self.dispatcher.body_limit();
        let declared = declared.map_or(Ok(0), usize::try_from);
        let declared = declared.ok().filter(|&declared| declared <= limit);
        let declared = declared.ok_or(FailReason::BodyTooLarge)?;
        match self.grow_to(declared) {
            true => Ok(()),
            false => Err(FailReason::NoRoom),
        }
    }

    /// Makes room for that much of the body, beside the headers. Says whether there is some.
    pub(crate) fn grow_to(&mut self, body: usize) -> bool {
        let needed = body.saturating_add(self.headers_len);
        if needed <= self.reserved {
            return true;
        }
        let most = self
            .dispatcher
            .body_limit()
            .saturating_add(self.headers_len);
        let grown = self.delivery.grow_to(needed, most);
        self.reserved = grown.unwrap_or(self.reserved);
        grown.is_some()
    }

    /// Records that this runs, where an outbox outlives the process: it was promised an answer.
    pub(crate) fn promise(&mut self) -> BoxFuture<'static, ()> {
        self.promise = Some(Box::new(Promise {
            to: Some(self.dispatcher.clone()),
            id: self.delivery.id(),
        }));
        let parts = self.delivery.parts_mut();
        let payload = notice::payload(FailReason::Interrupted, &parts.request_id);
        let mut interrupted = DeliveryParts {
            headers: notice::HEADERS.to_vec(),
            failure: Some(FailReason::Interrupted),
            ..parts.clone()
        };
        interrupted.payload = payload;
        self.dispatcher.begin(interrupted.into())
    }

    pub(crate) fn is_promised(&self) -> bool {
        self.promise.is_some()
    }

    /// What becomes of it is known.
    fn keep_promise(&mut self) -> bool {
        let promise = self.promise.take();
        promise.is_some_and(|promise| promise.keep())
    }

    /// Nobody waits for the response any more. What comes of this says when it has to make room.
    pub(crate) fn begin_run(&mut self) -> Option<Cut> {
        self.delivery.begin_run()
    }

    /// The response is complete: it becomes a delivery. `None` when it has not to wait for the
    /// outbox.
    pub(crate) fn complete(
        mut self,
        payload: Payload,
        cx: &mut Context<'_>,
    ) -> Option<AcceptFuture> {
        self.keep_promise();
        self.delivery.complete(payload, self.headers_len);
        self.dispatcher.accept(self.delivery, cx)
    }

    /// The response never becomes a delivery. Its endpoint is told so, unless nothing is to be sent.
    pub(crate) fn fail(mut self, reason: FailReason) {
        if !self.wishes.tells_failures || !reason.is_told() {
            if self.keep_promise() {
                self.dispatcher.end_run(self.delivery.id(), reason);
            }
            return self.delivery.end(EventKind::Failed(reason));
        }
        self.delivery.report(EventKind::Noticed(reason));
        let parts = self.delivery.parts_mut();
        let payload = notice::payload(reason, &parts.request_id);
        parts.headers = notice::HEADERS.to_vec();
        parts.failure = Some(reason);
        // Nobody waits for it: it may be a drop that calls.
        let mut nobody = Context::from_waker(Waker::noop());
        if let Some(accept) = self.complete(payload, &mut nobody) {
            wait_on(accept);
        }
    }
}

/// A run that may be recorded. Dropped before it is known what becomes of the call, as where its runtime
/// ends, it is handed back: its endpoint is told that it was interrupted.
struct Promise {
    to: Option<Dispatcher>,
    id: DeliveryId,
}

impl Promise {
    fn keep(mut self) -> bool {
        self.to.take().is_some()
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some(dispatcher) = self.to.take() {
            dispatcher.hand_back_run(self.id);
        }
    }
}

/// A service is being called for a pending webhook, which has failed where that panics.
pub(crate) struct Call(Option<PendingWebhook>);

impl Call {
    pub(crate) fn begin(pending: PendingWebhook) -> Self {
        Self(Some(pending))
    }

    pub(crate) fn has_returned(mut self) -> PendingWebhook {
        self.0.take().expect("only drop takes it before")
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(pending) = self.0.take() {
            pending.fail(FailReason::Panicked);
        }
    }
}
