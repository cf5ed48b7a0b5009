use std::{sync::Arc, task::Context};

use http::{
    HeaderMap, HeaderName, HeaderValue, Response,
    header::{CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE},
};

use crate::{
    Payload,
    config::Config,
    delivery::Draft,
    dispatch::Accepting,
    event::{EventKind, FailReason},
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
}

/// What most responses have: no copy is made of these.
static COMMON: [HeaderValue; 5] = [
    HeaderValue::from_static("application/json"),
    HeaderValue::from_static("application/octet-stream"),
    HeaderValue::from_static("text/plain; charset=utf-8"),
    HeaderValue::from_static("text/event-stream"),
    HeaderValue::from_static("application/grpc"),
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
    pub(crate) fn new(config: Arc<Config>, draft: Draft, asked_for_head: bool) -> Self {
        draft.report(EventKind::Accepted);
        Self {
            open: Some(Open {
                draft,
                config,
                asked_for_head,
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
        if let Some(Open { draft, .. }) = &mut self.open {
            let parts = draft.parts();
            parts.status = response.status();
            parts.headers = select(response.headers(), &FORWARDED);
        }
    }

    /// Notes what is forwarded of the trailers: a gRPC call's status is there.
    pub(crate) fn note_trailers(&mut self, trailers: &HeaderMap) {
        if let Some(Open { draft, .. }) = &mut self.open {
            let headers = &mut draft.parts().headers;
            let grpc = select(trailers, &[GRPC_STATUS, GRPC_MESSAGE]);
            let replaced = |name: &HeaderName| grpc.iter().any(|(new, _)| new == name);
            headers.retain(|(name, _)| !replaced(name));
            headers.extend(grpc);
        }
    }

    /// The response is complete: it becomes a delivery. `None` when it has not to wait for the
    /// outbox.
    pub(crate) fn complete(mut self, payload: Payload, cx: &mut Context<'_>) -> Option<Accepting> {
        let Open { draft, config, .. } = self.open.take().expect("a ticket is completed once");
        config.dispatcher.accept(draft.complete(payload), cx)
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
