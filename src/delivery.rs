use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use http::{HeaderName, HeaderValue, StatusCode};

use crate::{Endpoint, Payload, RequestId, Secret, admission::Room, event::EventKind};

/// One response on its way to one endpoint. Cheap to clone.
#[derive(Clone)]
pub struct Delivery {
    inner: Arc<Inner>,
}

struct Inner {
    parts: DeliveryParts,
    custody: Option<Custody>,
}

/// What a delivery is made of, for outboxes that write it down and read it again.
///
/// ```
/// use http::StatusCode;
/// use tower_webhook::{Delivery, DeliveryParts, EndpointPolicy, Payload, RequestId};
///
/// let parts = DeliveryParts::new(
///     RequestId::parse("run-1").unwrap(),
///     EndpointPolicy::public().check("https://example.com/hook")?,
///     StatusCode::OK,
///     Payload::from("done"),
/// );
/// let delivery = Delivery::from(parts);
/// assert_eq!(delivery.payload().len(), 4);
/// # Ok::<(), tower_webhook::EndpointError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeliveryParts {
    /// The request's id; the same on every attempt.
    pub id: RequestId,
    /// Where it goes.
    pub endpoint: Endpoint,
    /// What it is signed with; `None` sends it unsigned.
    pub secret: Option<Secret>,
    /// The response's status.
    pub status: StatusCode,
    /// The few headers of the response that travel along.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The response's body.
    pub payload: Payload,
}

/// Holds the room that a delivery takes, and knows whether anybody still has to be told its end.
struct Custody {
    room: Room,
    settled: AtomicBool,
}

impl DeliveryParts {
    /// An unsigned delivery without headers.
    #[must_use]
    pub fn new(id: RequestId, endpoint: Endpoint, status: StatusCode, payload: Payload) -> Self {
        Self {
            id,
            endpoint,
            secret: None,
            status,
            headers: Vec::new(),
            payload,
        }
    }
}

/// A delivery that has no response yet. Made early, and in its last place: it moves from hand to
/// hand on the way of a request.
pub(crate) struct Draft {
    inner: Arc<Inner>,
}

impl Draft {
    pub(crate) fn new(
        id: RequestId,
        endpoint: Endpoint,
        secret: Option<Secret>,
        room: Room,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                parts: DeliveryParts {
                    secret,
                    ..DeliveryParts::new(id, endpoint, StatusCode::OK, Payload::default())
                },
                custody: Some(Custody {
                    room,
                    settled: AtomicBool::new(false),
                }),
            }),
        }
    }

    /// What it is made of so far.
    pub(crate) fn parts(&mut self) -> &mut DeliveryParts {
        &mut self.inner().parts
    }

    /// Says what happened to it.
    pub(crate) fn report(&self, kind: EventKind) {
        let Inner { parts, custody } = &*self.inner;
        if let Some(Custody { room, .. }) = custody {
            room.events().of(&parts.id, &parts.endpoint, kind);
        }
    }

    /// With the response's body, and no more room than that takes.
    pub(crate) fn complete(mut self, payload: Payload) -> Delivery {
        let Inner { parts, custody } = self.inner();
        if let Some(Custody { room, .. }) = custody {
            room.shrink_to(payload.len());
        }
        parts.payload = payload;
        Delivery { inner: self.inner }
    }

    /// It never becomes a delivery.
    pub(crate) fn end(mut self, kind: EventKind) {
        self.inner().end(kind);
    }

    fn inner(&mut self) -> &mut Inner {
        Arc::get_mut(&mut self.inner).expect("a draft is nobody else's")
    }
}

impl Delivery {
    /// The request's id; the same on every attempt.
    #[must_use]
    pub fn id(&self) -> &RequestId {
        &self.inner.parts.id
    }

    /// Where it goes.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.inner.parts.endpoint
    }

    /// What it is signed with; `None` sends it unsigned.
    #[must_use]
    pub fn secret(&self) -> Option<&Secret> {
        self.inner.parts.secret.as_ref()
    }

    /// The status of the response that is forwarded.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.inner.parts.status
    }

    /// The headers of the response that travel along.
    #[must_use]
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.inner.parts.headers
    }

    /// The response's body.
    #[must_use]
    pub fn payload(&self) -> &Payload {
        &self.inner.parts.payload
    }

    /// Whether it takes room: a dead letter that is redelivered does not.
    pub(crate) fn has_room(&self) -> bool {
        self.inner.custody.is_some()
    }

    /// The same delivery, without the room that this one takes.
    pub(crate) fn detached(&self) -> Self {
        self.inner.parts.clone().into()
    }

    /// Its end is told, or is told by whoever wrote it down: dropping it reports nothing. Says
    /// whether that is new.
    pub(crate) fn settle(&self) -> bool {
        match &self.inner.custody {
            Some(custody) => !custody.settled.swap(true, Ordering::AcqRel),
            None => true,
        }
    }
}

impl From<DeliveryParts> for Delivery {
    fn from(parts: DeliveryParts) -> Self {
        Self {
            inner: Arc::new(Inner {
                parts,
                custody: None,
            }),
        }
    }
}

impl Inner {
    /// Whoever hears of the end can rely on the room being free again.
    fn end(&mut self, kind: EventKind) {
        let Some(Custody { room, .. }) = self.custody.take() else {
            return;
        };
        let events = room.events().clone();
        drop(room);
        events.of(&self.parts.id, &self.parts.endpoint, kind);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(custody) = &mut self.custody
            && !*custody.settled.get_mut()
        {
            self.end(EventKind::Abandoned);
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.inner.parts, f)
    }
}
