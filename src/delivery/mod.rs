//! One delivery and what it is made of: ids, endpoint, secret, payload and a few headers, and how
//! it is signed. How it is sent, kept or scheduled is not known here.

mod brand;
#[cfg(not(feature = "ed25519"))]
mod no_keys;
mod payload;
#[cfg(feature = "ed25519")]
mod public_key;
mod secret;
pub(crate) mod signature;
#[cfg(feature = "ed25519")]
mod signing_key;
mod trace_parent;
pub(crate) mod wire;

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use http::{HeaderName, HeaderValue, StatusCode};

#[cfg(not(feature = "ed25519"))]
pub(crate) use self::no_keys::{PublicKey, SigningKey};
pub use self::{
    brand::{Brand, InvalidBrand},
    payload::Payload,
    secret::{InvalidSecret, Secret},
    trace_parent::TraceParent,
};
#[cfg(feature = "ed25519")]
pub use self::{
    public_key::{InvalidPublicKey, PublicKey},
    signing_key::{SigningKey, SigningKeyError},
};
use crate::{
    admission::{Cut, Reservation},
    endpoint::Endpoint,
    event::{EventKind, FailReason},
    id::{DeliveryId, RequestId},
    sync::lock,
};

/// One response on its way to one endpoint. Cheap to clone.
#[derive(Clone)]
pub struct Delivery {
    inner: Arc<Inner>,
}

struct Inner {
    parts: DeliveryParts,
    /// There as long as this process owes somebody the delivery's end. Whoever settles the delivery
    /// takes it; where nobody has, the drop reports the end.
    reservation: Mutex<Option<Reservation>>,
    /// Its end was told though it still holds its reservation: a sink has it.
    is_settled: AtomicBool,
}

/// What a delivery is made of.
///
/// ```
/// use tower_webhook::{Delivery, EndpointPolicy, Payload, Secret, delivery::DeliveryParts};
///
/// let endpoint = EndpointPolicy::public().check("https://example.com/hook")?;
/// let mut parts = DeliveryParts::new(endpoint, Payload::from("done"));
/// parts.secret = Some(Secret::new("a-value-of-your-choice"));
/// let delivery = Delivery::from(parts);
/// assert_eq!(delivery.payload().len(), 4);
/// assert_eq!(delivery.request_id().as_str(), delivery.id().to_string());
/// # Ok::<(), tower_webhook::endpoint::EndpointError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeliveryParts {
    /// The delivery's own id; the same on every attempt.
    pub id: DeliveryId,
    /// The request's id; the same on every attempt.
    pub request_id: RequestId,
    /// Where it goes.
    pub endpoint: Endpoint,
    /// What it is signed with; `None` sends it unsigned, unless the service has a key of its own.
    pub secret: Option<Secret>,
    /// The call's place in a distributed trace.
    pub trace_parent: Option<TraceParent>,
    /// The response's status; `None` on a [failure notice](FailReason) where there was no response.
    pub status: Option<StatusCode>,
    /// Why there is no response to forward: the payload then is a failure notice.
    pub failure: Option<FailReason>,
    /// The few headers of the response that travel along.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The response's body.
    pub payload: Payload,
}

impl DeliveryParts {
    /// An unsigned delivery with a fresh id, status 200, no headers, and no trace.
    #[must_use]
    pub fn new(endpoint: Endpoint, payload: Payload) -> Self {
        Self::of_request(None, endpoint, payload)
    }

    /// The same for a request, which may have an id of its own.
    pub(crate) fn of_request(
        request_id: Option<RequestId>,
        endpoint: Endpoint,
        payload: Payload,
    ) -> Self {
        let id = DeliveryId::fresh();
        Self {
            id,
            request_id: request_id.unwrap_or_else(|| id.into()),
            endpoint,
            secret: None,
            trace_parent: None,
            status: Some(StatusCode::OK),
            failure: None,
            headers: Vec::new(),
            payload,
        }
    }
}

impl Delivery {
    /// One whose response is not complete yet. It is made early, and in its last place: it moves
    /// from hand to hand on the way of a request.
    pub(crate) fn pending(parts: DeliveryParts, reservation: Reservation) -> Self {
        Self {
            inner: Arc::new(Inner {
                parts,
                reservation: Mutex::new(Some(reservation)),
                is_settled: AtomicBool::new(false),
            }),
        }
    }

    /// A complete one that holds a reservation.
    pub(crate) fn reserved(parts: DeliveryParts, reservation: Reservation) -> Self {
        let payload = parts.payload.clone();
        let mut delivery = Self::pending(parts, reservation);
        delivery.complete(payload, 0);
        delivery
    }

    /// The delivery's own id; the same on every attempt.
    #[must_use]
    pub fn id(&self) -> DeliveryId {
        self.inner.parts.id
    }

    /// The request's id; the same on every attempt.
    #[must_use]
    pub fn request_id(&self) -> &RequestId {
        &self.inner.parts.request_id
    }

    /// Where it goes.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.inner.parts.endpoint
    }

    /// What it is signed with; `None` sends it unsigned, unless the service has a key of its own.
    #[must_use]
    pub fn secret(&self) -> Option<&Secret> {
        self.inner.parts.secret.as_ref()
    }

    /// The call's place in a distributed trace, which is what the attempts send where nothing
    /// [else](crate::dispatch::TracePropagator) is made of it.
    #[must_use]
    pub fn trace_parent(&self) -> Option<TraceParent> {
        self.inner.parts.trace_parent
    }

    /// The status of the response; `None` on a failure notice where there was none.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.inner.parts.status
    }

    /// Why there is no response to forward: the payload is a failure notice.
    #[must_use]
    pub fn failure(&self) -> Option<FailReason> {
        self.inner.parts.failure
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

    /// The bytes of its payload and its headers: what of it has no other bound.
    pub(crate) fn kept_len(&self) -> usize {
        let headers = self.headers().iter();
        let headers = headers.map(|(name, value)| name.as_str().len() + value.len());
        self.payload().len() + headers.sum::<usize>()
    }

    /// A copy that holds neither the payload nor a reservation.
    pub(crate) fn without_payload(&self) -> Self {
        self.with_payload(Payload::default())
    }

    /// A copy with another payload, which holds no reservation.
    pub(crate) fn with_payload(&self, payload: impl Into<Payload>) -> Self {
        let parts = &self.inner.parts;
        Self::from(DeliveryParts {
            id: parts.id,
            request_id: parts.request_id.clone(),
            endpoint: parts.endpoint.clone(),
            secret: parts.secret.clone(),
            status: parts.status,
            failure: parts.failure,
            trace_parent: parts.trace_parent,
            headers: parts.headers.clone(),
            payload: payload.into(),
        })
    }

    /// What a pending delivery is made of so far.
    pub(crate) fn parts_mut(&mut self) -> &mut DeliveryParts {
        &mut self.inner_mut().parts
    }

    /// Reserves `needed` bytes, and more where there is room, up to `most`. Says how many are reserved
    /// then; `None` where there is no room.
    pub(crate) fn grow_to(&mut self, needed: usize, most: usize) -> Option<usize> {
        let mut reservation = lock(&self.inner_mut().reservation);
        let reservation = reservation.as_mut()?;
        let has_room = reservation.grow_to(needed, most);
        has_room.then(|| reservation.bytes())
    }

    /// Nobody waits for its response any more. What comes of this says when it has to make room.
    pub(crate) fn begin_run(&mut self) -> Option<Cut> {
        let mut reservation = lock(&self.inner_mut().reservation);
        reservation.as_mut().map(Reservation::begin_run)
    }

    /// The response is complete: no more is reserved than its body and its headers need.
    pub(crate) fn complete(&mut self, payload: Payload, headers_len: usize) {
        let inner = self.inner_mut();
        if let Some(reservation) = lock(&inner.reservation).as_mut() {
            reservation.end_run();
            #[cfg(feature = "metrics")]
            reservation.complete();
            reservation.shrink_to(payload.len() + headers_len);
        }
        inner.parts.payload = payload;
    }

    /// Says what happened to a delivery that holds a reservation.
    pub(crate) fn report(&self, kind: EventKind) {
        let events = lock(&self.inner.reservation)
            .as_ref()
            .map(|reservation| reservation.events().clone());
        if let Some(events) = events {
            events.of(self.id(), self.request_id(), self.endpoint(), kind);
        }
    }

    /// Takes its reservation, and with it the duty to report its end. `None` when somebody
    /// has, or when it never took any, as a dead letter that is redelivered.
    pub(crate) fn take_reservation(&self) -> Option<Reservation> {
        lock(&self.inner.reservation).take()
    }

    /// Its end is told: dropping it reports nothing. It holds its reservation until then.
    pub(crate) fn settle(&self) {
        self.inner.is_settled.store(true, Ordering::Release);
    }

    /// It ends here. Whoever hears of it can rely on the reservation being free again.
    pub(crate) fn end(&self, kind: EventKind) {
        self.inner.end(kind);
    }

    fn inner_mut(&mut self) -> &mut Inner {
        Arc::get_mut(&mut self.inner).expect("a pending delivery is nobody else's")
    }
}

impl Inner {
    fn end(&self, kind: EventKind) {
        let Some(reservation) = lock(&self.reservation).take() else {
            return;
        };
        let events = reservation.events().clone();
        drop(reservation);
        let DeliveryParts {
            id,
            request_id,
            endpoint,
            ..
        } = &self.parts;
        events.of(*id, request_id, endpoint, kind);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if *self.is_settled.get_mut() {
            return;
        }
        self.end(EventKind::Abandoned);
    }
}

impl From<DeliveryParts> for Delivery {
    /// A complete delivery that holds no reservation.
    fn from(parts: DeliveryParts) -> Self {
        Self {
            inner: Arc::new(Inner {
                parts,
                reservation: Mutex::new(None),
                is_settled: AtomicBool::new(false),
            }),
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.inner.parts, f)
    }
}
