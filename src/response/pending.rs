use std::task::Context;

use http::{HeaderMap, HeaderName, HeaderValue, Response};

use crate::{
    admission::Reservation,
    delivery::{
        Delivery, DeliveryParts, Payload,
        wire::{FORWARDED, GRPC_MESSAGE, GRPC_STATUS},
    },
    dispatch::{AcceptFuture, Dispatcher},
    event::{EventKind, FailReason},
};

/// An accepted webhook whose response is not complete yet.
///
/// It ends in exactly one way: as a delivery, as failed, or, dropped, as abandoned; dropped by a
/// panic, it has failed. The delivery in it sees to that, which is there from the beginning.
pub(crate) struct PendingWebhook {
    delivery: Delivery,
    dispatcher: Dispatcher,
    /// Whether the request was a `HEAD`.
    asked_for_head: bool,
}

/// What most responses have: no copy is made of these.
static COMMON: [HeaderValue; 5] = [
    HeaderValue::from_static("application/json"),
    HeaderValue::from_static("application/octet-stream"),
    HeaderValue::from_static("text/plain; charset=utf-8"),
    HeaderValue::from_static("text/event-stream"),
    HeaderValue::from_static("application/grpc"),
];

impl PendingWebhook {
    /// Takes a request in hand, for which there is room.
    pub(crate) fn new(
        dispatcher: Dispatcher,
        parts: DeliveryParts,
        reservation: Reservation,
        asked_for_head: bool,
    ) -> Self {
        let delivery = Delivery::pending(parts, reservation);
        delivery.report(EventKind::Accepted);
        Self {
            delivery,
            dispatcher,
            asked_for_head,
        }
    }

    pub(crate) fn asked_for_head(&self) -> bool {
        self.asked_for_head
    }

    pub(crate) fn dispatcher(&self) -> &Dispatcher {
        &self.dispatcher
    }

    /// Notes what is forwarded of the response's head.
    pub(crate) fn note_head<B>(&mut self, response: &Response<B>) {
        let parts = self.delivery.parts_mut();
        parts.status = response.status();
        parts.headers = select(response.headers(), &FORWARDED);
    }

    /// Notes what is forwarded of the trailers: a gRPC call's status is there.
    pub(crate) fn note_trailers(&mut self, trailers: &HeaderMap) {
        let headers = &mut self.delivery.parts_mut().headers;
        let grpc = select(trailers, &[GRPC_STATUS, GRPC_MESSAGE]);
        let replaced = |name: &HeaderName| grpc.iter().any(|(new, _)| new == name);
        headers.retain(|(name, _)| !replaced(name));
        headers.extend(grpc);
    }

    /// The response is complete: it becomes a delivery. `None` when it has not to wait for the
    /// outbox.
    pub(crate) fn complete(
        mut self,
        payload: Payload,
        cx: &mut Context<'_>,
    ) -> Option<AcceptFuture> {
        self.delivery.complete(payload);
        self.dispatcher.accept(self.delivery, cx)
    }

    /// The response never becomes a delivery.
    pub(crate) fn fail(self, reason: FailReason) {
        self.delivery.end(EventKind::Failed(reason));
    }
}

/// Each value of each of these headers.
fn select(headers: &HeaderMap, names: &[HeaderName]) -> Vec<(HeaderName, HeaderValue)> {
    let mut selected = Vec::new();
    for (name, value) in headers {
        if names.contains(name) {
            if selected.is_empty() {
                // Most have no other.
                selected.reserve_exact(1);
            }
            selected.push((name.clone(), copy(value)));
        }
    }
    selected
}

/// A clone would keep the buffer of a whole head where the response has come over a connection.
fn copy(value: &HeaderValue) -> HeaderValue {
    let known = COMMON.iter().find(|known| *known == value).cloned();
    let copied = || HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone());
    let mut copy = known.unwrap_or_else(copied);
    copy.set_sensitive(value.is_sensitive());
    copy
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::header::CONTENT_TYPE;

    use super::*;

    #[test]
    fn what_is_forwarded_does_not_keep_the_head_that_it_was_in() {
        let head = Bytes::from(b"text/plain\r\nx-more: and so on".to_vec());
        let value = HeaderValue::from_maybe_shared(head.slice(..10)).unwrap();
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, value)]);
        let kept = select(&headers, &FORWARDED);
        drop(headers);
        assert_eq!(kept, [(CONTENT_TYPE, "text/plain".parse().unwrap())]);
        assert!(head.is_unique());
    }
}
