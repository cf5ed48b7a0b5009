use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE},
};

use crate::{
    Dispatcher, Endpoint, Payload, RequestId, Secret,
    admission::Room,
    delivery::DeliveryParts,
    dispatch::Accepting,
    event::{EventKind, FailReason},
    wire::{GRPC_MESSAGE, GRPC_STATUS},
};

/// An accepted webhook whose response is not complete yet.
///
/// It ends in exactly one way: as a delivery, as failed, or, dropped, as abandoned. Dropped by a
/// panic, it has failed.
pub(crate) struct Ticket {
    open: Option<Open>,
    dispatcher: Dispatcher,
}

struct Open {
    id: RequestId,
    endpoint: Endpoint,
    secret: Option<Secret>,
    room: Room,
    method: Method,
    head: Option<Head>,
}

/// What is forwarded of a response's head.
struct Head {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
}

const FORWARDED: [HeaderName; 5] = [
    CONTENT_TYPE,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    // Of a trailers-only response.
    GRPC_STATUS,
    GRPC_MESSAGE,
];

impl Ticket {
    /// Takes a request in hand, for which there is room.
    pub(crate) fn new(
        dispatcher: Dispatcher,
        room: Room,
        id: RequestId,
        endpoint: Endpoint,
        secret: Option<Secret>,
        method: Method,
    ) -> Self {
        dispatcher.events().of(&id, &endpoint, EventKind::Accepted);
        Self {
            open: Some(Open {
                id,
                endpoint,
                secret,
                room,
                method,
                head: None,
            }),
            dispatcher,
        }
    }

    pub(crate) fn method(&self) -> &Method {
        &self.open().method
    }

    pub(crate) fn body_limit(&self) -> usize {
        self.dispatcher.body_limit()
    }

    /// Notes what is forwarded of the response's head.
    pub(crate) fn note_head<B>(&mut self, response: &Response<B>) {
        let status = response.status();
        let headers = select(response.headers(), &FORWARDED);
        if let Some(open) = &mut self.open {
            open.head = Some(Head { status, headers });
        }
    }

    /// Notes what is forwarded of the trailers: a gRPC call's status is there.
    pub(crate) fn note_trailers(&mut self, trailers: &HeaderMap) {
        if let Some(Open {
            head: Some(head), ..
        }) = &mut self.open
        {
            let grpc = select(trailers, &[GRPC_STATUS, GRPC_MESSAGE]);
            let replaced = |name: &HeaderName| grpc.iter().any(|(new, _)| new == name);
            head.headers.retain(|(name, _)| !replaced(name));
            head.headers.extend(grpc);
        }
    }

    /// The response is complete: it becomes a delivery.
    pub(crate) fn complete(mut self, payload: Payload) -> Accepting {
        let open = self.open.take().expect("a ticket is completed once");
        let head = open.head.expect("a response has a head before a body");
        let parts = DeliveryParts {
            id: open.id,
            endpoint: open.endpoint,
            secret: open.secret,
            status: head.status,
            headers: head.headers,
            payload,
        };
        self.dispatcher.accept(parts, open.room)
    }

    /// The response never becomes a delivery.
    pub(crate) fn fail(mut self, reason: FailReason) {
        self.end(EventKind::Failed(reason));
    }

    fn end(&mut self, kind: EventKind) {
        if let Some(open) = self.open.take() {
            // Whoever hears of the end can rely on the room being free again.
            drop(open.room);
            self.dispatcher.events().of(&open.id, &open.endpoint, kind);
        }
    }

    fn open(&self) -> &Open {
        self.open
            .as_ref()
            .expect("a ticket is open until it is consumed")
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.end(match std::thread::panicking() {
            // Before there was anything to watch: the service panicked when it was called.
            true => EventKind::Failed(FailReason::Panicked),
            false => EventKind::Abandoned,
        });
    }
}

/// Each value of each of these headers.
fn select(headers: &HeaderMap, names: &[HeaderName]) -> Vec<(HeaderName, HeaderValue)> {
    let values = |name| headers.get_all(name).iter().map(move |value| (name, value));
    let selected = names.iter().flat_map(values);
    selected
        .map(|(name, value)| (HeaderName::clone(name), copy(value)))
        .collect()
}

/// A clone would keep the buffer of a whole head where the response has come over a connection.
fn copy(value: &HeaderValue) -> HeaderValue {
    let mut copy = HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone());
    copy.set_sensitive(value.is_sensitive());
    copy
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

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
