use std::{sync::Arc, task::Context};

use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE},
};

use crate::{
    Endpoint, Payload,
    admission::Room,
    config::Config,
    delivery::Draft,
    dispatch::Accepting,
    event::{EventKind, FailReason},
    request::Wish,
    wire::{GRPC_MESSAGE, GRPC_STATUS},
};

/// An accepted webhook whose response is not complete yet.
///
/// It ends in exactly one way: as a delivery, as failed, or, dropped, as abandoned. Dropped by a
/// panic, it has failed.
pub(crate) struct Ticket {
    /// `None` once it has ended.
    open: Option<Open>,
}

struct Open {
    draft: Draft,
    config: Arc<Config>,
    /// Whether the request was a `HEAD`.
    asked_for_head: bool,
    status: StatusCode,
    /// What is forwarded of the response's head and of its trailers.
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// What most responses have: no copy is made of these.
const COMMON: [&str; 5] = [
    "application/json",
    "application/octet-stream",
    "text/plain; charset=utf-8",
    "text/event-stream",
    "application/grpc",
];

static FORWARDED: [HeaderName; 5] = [
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
        config: Arc<Config>,
        room: Room,
        wish: Wish<Endpoint>,
        asked_for_head: bool,
    ) -> Self {
        let Wish {
            id,
            endpoint,
            secret,
        } = wish;
        room.events().of(&id, &endpoint, EventKind::Accepted);
        Self {
            open: Some(Open {
                draft: Draft::new(id, endpoint, secret, room),
                config,
                asked_for_head,
                status: StatusCode::OK,
                headers: Vec::new(),
            }),
        }
    }

    pub(crate) fn asked_for_head(&self) -> bool {
        self.open().asked_for_head
    }

    pub(crate) fn config(&self) -> &Config {
        &self.open().config
    }

    /// Notes what is forwarded of the response's head.
    pub(crate) fn note_head<B>(&mut self, response: &Response<B>) {
        if let Some(open) = &mut self.open {
            open.status = response.status();
            open.headers = select(response.headers(), &FORWARDED);
        }
    }

    /// Notes what is forwarded of the trailers: a gRPC call's status is there.
    pub(crate) fn note_trailers(&mut self, trailers: &HeaderMap) {
        if let Some(Open { headers, .. }) = &mut self.open {
            let grpc = select(trailers, &[GRPC_STATUS, GRPC_MESSAGE]);
            let replaced = |name: &HeaderName| grpc.iter().any(|(new, _)| new == name);
            headers.retain(|(name, _)| !replaced(name));
            headers.extend(grpc);
        }
    }

    /// The response is complete: it becomes a delivery. `None` when it has not to wait for the
    /// outbox.
    pub(crate) fn complete(mut self, payload: Payload, cx: &mut Context<'_>) -> Option<Accepting> {
        let open = self.open.take().expect("a ticket is completed once");
        let delivery = open.draft.complete(open.status, open.headers, payload);
        open.config.dispatcher.accept(delivery, cx)
    }

    /// The response never becomes a delivery.
    pub(crate) fn fail(mut self, reason: FailReason) {
        self.end(EventKind::Failed(reason));
    }

    fn end(&mut self, kind: EventKind) {
        if let Some(open) = self.open.take() {
            open.draft.end(kind);
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
    // Most have one of these, and few others.
    let selected = headers.iter().filter(|(name, _)| names.contains(name));
    selected
        .map(|(name, value)| (name.clone(), copy(value)))
        .collect()
}

/// A clone would keep the buffer of a whole head where the response has come over a connection.
fn copy(value: &HeaderValue) -> HeaderValue {
    let known = COMMON.iter().find(|known| *known == value);
    let mut copy = match known {
        Some(known) => HeaderValue::from_static(known),
        None => HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone()),
    };
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
