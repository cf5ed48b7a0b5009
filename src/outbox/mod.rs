//! Where accepted deliveries wait until their endpoint has taken them.
//!
//! An [`Outbox`] has three ends. Its *sink* accepts: any [`Service`] from a [`Delivery`] to
//! [`Accepted`], so that it can be wrapped in Tower's own timeouts and limits, and
//! [`service_fn`](tower::service_fn) is a test double. Its [`Source`] hands deliveries out again
//! as [`Claim`]s, so that settling them stays its own business. Its [`Ledger`] is for people: it
//! lists deliveries and brings dead letters back.
//!
//! Nothing here knows HTTP, and nothing above it knows which outbox it is.
//!
//! ```
//! use tower::service_fn;
//! use tower_webhook::{Dispatcher, outbox::Accepted};
//!
//! // A sink that only looks: for a test, or when something else delivers.
//! let dispatcher = Dispatcher::builder()
//!     .with_sink(service_fn(|delivery: tower_webhook::Delivery| async move {
//!         println!("{} for {:?}", delivery.id(), delivery.endpoint());
//!         Ok::<_, std::io::Error>(Accepted::in_memory())
//!     }))
//!     .build();
//! ```

mod ledger;
mod memory;
mod sink_only;
#[cfg(feature = "sqlite")]
pub mod sqlite;

use std::{future::Future, time::Duration};

use tower_service::Service;

pub use self::{
    ledger::{AttemptRecord, DeliveryFilter, DeliveryRecord, DeliveryState, Ledger},
    memory::{MemoryClaim, MemoryLedger, MemoryOutbox, MemorySink, MemorySource},
    sink_only::{NoLedger, NoSource, SinkOnly},
};
pub use crate::durability::Durability;
use crate::{BoxError, Delivery, Host, event::Outcome};

/// Where accepted deliveries wait: a [sink](Self::Sink) that accepts them, a [`Source`] that hands
/// them out, and a [`Ledger`] to look at them.
pub trait Outbox {
    /// Accepts deliveries. Its future resolves once the delivery is as safe as it says.
    type Sink: Service<Delivery, Response = Accepted, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static;
    /// Hands deliveries out.
    type Source: Source;

    /// Looks at what is kept, and brings dead letters back.
    type Ledger: Ledger;

    /// The ends.
    fn split(self) -> (Self::Sink, Self::Source, Self::Ledger);

    /// Accepts a delivery and claims it in one step, past the sink and the source: for an attempt
    /// that can begin at this moment. `None` leaves it to the sink.
    ///
    /// Where no attempt begins after all, the claim is dropped and due again, as any other. An
    /// outbox has none to give where what is due to the same host waits for its turn, or where
    /// it takes time until a delivery is safe. Default: none.
    fn accept_claimed(
        sink: &Self::Sink,
        delivery: &Delivery,
    ) -> Option<(Accepted, <Self::Source as Source>::Claim)> {
        let _ = (sink, delivery);
        None
    }

    /// Whether the source hands out what the sink accepts. When it does not, somebody else
    /// delivers, and a delivery's story ends here with the sink's answer. Default: yes.
    fn delivers(&self) -> bool {
        true
    }
}

/// Ends of one's own, for instance those of a [`MemoryOutbox`] with the sink wrapped in
/// `tower::load_shed`.
impl<K, S, L> Outbox for (K, S, L)
where
    K: Service<Delivery, Response = Accepted, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    S: Source,
    L: Ledger,
{
    type Sink = K;
    type Source = S;
    type Ledger = L;

    fn split(self) -> (K, S, L) {
        self
    }
}

/// What a sink says once it has a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Accepted {
    /// What the delivery survives from now on.
    pub durability: Durability,
    /// A delivery with this id was there already, and is the one that is kept.
    pub duplicate: bool,
}

impl Accepted {
    /// Queued in this process.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::with(Durability::Memory)
    }

    /// Kept with this durability, as the first delivery of its id.
    #[must_use]
    pub fn with(durability: Durability) -> Self {
        Self {
            durability,
            duplicate: false,
        }
    }
}

/// Hands out the deliveries that are due.
pub trait Source: Send + 'static {
    /// One delivery, claimed.
    type Claim: Claim;

    /// Waits until a delivery is due and there is demand for it; may give several at once.
    ///
    /// It is called again after it was dropped half-way, and must lose no claim then. An empty
    /// list is a reason to ask again at once.
    ///
    /// # Errors
    ///
    /// When the outbox cannot be read; the worker reports it and asks again a second later.
    fn next(
        &mut self,
        demand: Demand<'_>,
    ) -> impl Future<Output = Result<Vec<Self::Claim>, BoxError>> + Send;

    /// Says that a host may have room for which [`Demand`] had none; `None`: any host.
    ///
    /// A source that keeps what is due by host looks at these again and at no other. It is called
    /// between two calls of [`next`](Self::next). Default: nothing, for one that asks
    /// [`Demand`] each time.
    fn has_room(&mut self, host: Option<&Host>) {
        let _ = host;
    }

    /// Says that the worker has ended, be it that its runtime has: what was claimed and not
    /// handed out is due again. Default: nothing, for a source that claims nothing ahead.
    fn rest(&mut self) {}

    /// Takes what is lost when the process ends now. A durable outbox has nothing to give.
    fn drain(&mut self) -> Vec<Delivery> {
        Vec::new()
    }
}

/// One delivery whose next attempt is the holder's business.
///
/// A claim that is dropped without being settled is due again, as the same attempt.
pub trait Claim: Send + 'static {
    /// What is to be delivered.
    fn delivery(&self) -> &Delivery;

    /// Which attempt this is, from 1.
    fn attempt(&self) -> u32;

    /// Whether a part of what was written down is lost or cannot be read any more, such as a
    /// secret whose key is gone. It is then not sent: its attempt ends as
    /// [unreadable](crate::AttemptError::Unreadable). Default: no.
    fn is_unreadable(&self) -> bool {
        false
    }

    /// Claims another delivery that is due to the same endpoint host, to be attempted in this one's
    /// place. `has_place` says whether there is one; it is asked at most once, and only where something
    /// waits.
    ///
    /// It saves the way over [`Source::next`] to a host that has more waiting than it may have
    /// under way. Default: none.
    fn another(&self, has_place: impl FnOnce() -> bool) -> Option<Self>
    where
        Self: Sized,
    {
        let _ = has_place;
        None
    }

    /// Says how the attempt went, and what becomes of the delivery.
    ///
    /// # Errors
    ///
    /// When the outbox cannot write it down; the delivery may then be handed out again.
    fn settle(
        self,
        verdict: Verdict,
        record: AttemptRecord,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;
}

/// What becomes of a delivery after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The endpoint took it.
    Delivered,
    /// It is due again after this time.
    AgainIn(Duration),
    /// It is given up; this is how its last attempt ended.
    Dead(Outcome),
}

/// How many deliveries a worker has room for: in all, and for each endpoint host.
#[derive(Clone, Copy)]
pub struct Demand<'a> {
    at_most: usize,
    room: &'a (dyn Fn(&Host) -> usize + Sync),
}

impl<'a> Demand<'a> {
    pub(crate) fn new(at_most: usize, room: &'a (dyn Fn(&Host) -> usize + Sync)) -> Self {
        Self { at_most, room }
    }

    /// The most claims that there is room for.
    #[must_use]
    pub fn at_most(&self) -> usize {
        self.at_most
    }

    /// Whether this endpoint host has as many attempts under way as it may.
    ///
    /// What is handed out for such a host all the same exceeds its limit.
    #[must_use]
    pub fn is_full(&self, host: &Host) -> bool {
        self.room(host) == 0
    }

    /// How many more attempts this endpoint host may have under way.
    #[must_use]
    pub fn room(&self, host: &Host) -> usize {
        (self.room)(host)
    }
}

impl std::fmt::Debug for Demand<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Demand")
            .field("at_most", &self.at_most)
            .finish_non_exhaustive()
    }
}
