//! Where deliveries are kept until they are settled.
//!
//! An [`Outbox`] is a store, not a scheduler: it takes deliveries, hands out what is due, and
//! notes how attempts ended. Which delivery is attempted next, how many attempts run, grouping,
//! heartbeats, sealing, encoding and the bounds on memory are the dispatcher's, for every outbox.
//! What lives here are the trait, the plain data that goes through it, the outbox in memory, and
//! what seals a delivery for the others.
//!
//! [`MemoryOutbox`] is the default. `tower-webhook-sqlite`, a crate of its own, keeps deliveries in
//! a file, `tower-webhook-postgres` in a database that several machines share, and `tower-webhook-nats` in a
//! stream of NATS JetStream.
//!
//! # An outbox of one's own
//!
//! This is a whole one. It keeps deliveries in a map and passes the contract suite (feature
//! `testing`, [`testing::contract`](crate::testing)), which every outbox should run in its tests.
//!
//! ```
#![doc = include_str!("sample.rs")]
//! # let dispatcher = tower_webhook::Dispatcher::builder().with_outbox(MapOutbox::default()).build();
//! ```
//!
//! # What must be true of an outbox
//!
//! - **Leases.** A delivery that is leased is nobody else's until its lease is settled, or runs
//!   out because it was not [renewed](Outbox::renew) for [`Limits::lease`]. A lease names the
//!   delivery and a token that the outbox chooses; each time a delivery is leased its token is
//!   another one, so that a settlement for a lease that was lost changes nothing and
//!   [says so](SettleOutcome::LeaseLost).
//! - **Cancellation.** A future that is dropped half-way may have been carried out or not. Where
//!   [`fetch`](Outbox::fetch) is dropped after it has leased something, the outbox gives that back
//!   by itself, at the latest when the lease runs out.
//! - **Idempotence.** A batch is inserted again when nobody knows whether it was inserted. A
//!   delivery whose id is there already is left as it is.
//! - **Errors** are of the whole batch: nothing of it was done, or it is safe to do again.
//! - **Durability and sealing.** An outbox with [`Durability::Memory`] seals with
//!   [`Sealing::in_memory`], and every other one with a key or in plaintext.
//! - **Nothing is registered.** The dispatcher asks; an outbox keeps no reference to it and calls
//!   nobody back.
//! - **Nothing blocks.** The calls are polled on Tokio's workers, each perhaps in another runtime: a
//!   sync of the disk belongs on a thread of the outbox's own, or in `spawn_blocking`, and no task or
//!   handle of one runtime is kept for the calls of another.
//!
//! A lease belongs to the value that gave it: where one process opens a store twice, the two are as
//! strange to each other as two processes are.
//!
//! Times are the outbox's to keep. A store that outlives the process keeps them by the wall clock; a
//! clock that is set anew may make something due too early or too late, and loses nothing.
//!
//! What is read from a disk is put together by [`Envelope::from_bytes`], [`StoredDelivery::new`],
//! `Payload::from` (of [`Bytes`](bytes::Bytes)) and the other constructors; that takes the crates
//! `bytes` and `http` as dependencies.

mod attempts;
mod codec;
mod envelope;
mod erased;
#[cfg(feature = "sealing")]
mod key;
#[cfg(feature = "sealing")]
mod key_file;
mod lease;
mod memory;
mod record;
mod sealing;
mod settlement;

use std::{future::Future, time::Duration};

#[cfg(feature = "sealing")]
pub use self::key::{SealingKey, SealingKeyError};
pub use self::{
    envelope::Envelope,
    lease::{DueDeliveries, Lease, LeasedDelivery, NewDelivery, StoredDelivery, Want},
    memory::MemoryOutbox,
    record::{AttemptRecord, DeliveryFilter, DeliveryRecord, DeliveryState, Page},
    sealing::Sealing,
    settlement::{SettleOutcome, Settlement, Verdict},
};
pub(crate) use self::{
    erased::{ErasedOutbox, OutboxFuture},
    sealing::Unreadable,
};
pub use crate::event::Durability;
use crate::{delivery::Payload, error::BoxError, id::DeliveryId};

/// A store for deliveries; see the [module](self) for what must be true of one, and for an example.
///
/// Every call is given a whole batch where there is more than one thing to do, and any number of
/// calls may be under way at once. An error never changes a response: the dispatcher delivers from
/// memory what an outbox does not take, and settles again what it did not settle.
pub trait Outbox: Send + Sync + 'static {
    /// What this outbox promises and can do. It never changes.
    fn limits(&self) -> Limits;

    /// How deliveries are turned into what is kept: what the outbox was given when it was made.
    fn sealing(&self) -> Sealing;

    /// Keeps these deliveries, each of them or none, and resolves once they are as safe as
    /// [`Limits::durability`] says.
    ///
    /// Gives a lease for each one for which [`NewDelivery::lease`] asks: it is attempted at once,
    /// without being read back. All others are due at once, for [`fetch`](Self::fetch). The order is
    /// that of the batch.
    ///
    /// A delivery takes the place of its [run](Self::begin). One that is there already in any other way is
    /// left as it is, and gets a lease only if it waits, or if it
    /// is leased to this outbox by an insert that nobody heard of. `None` for a delivery that was to
    /// be leased leaves it to [`fetch`](Self::fetch).
    ///
    /// # Errors
    ///
    /// When nothing of the batch was kept, or nobody knows.
    fn insert(
        &self,
        batch: Vec<NewDelivery>,
    ) -> impl Future<Output = Result<Vec<Option<Lease>>, BoxError>> + Send;

    /// Keeps that these calls run, each of them or none: they have been promised an answer. What is kept is
    /// what their endpoint is told where the process ends before they do, leased to this process.
    ///
    /// [`insert`](Self::insert) of the same id takes the place of a run, with another lease; settling a run
    /// as [forgotten](Verdict::Forgotten) ends it. Where neither has happened when the lease runs out, or is handed back, the
    /// run is due as any delivery is, for [`fetch`](Self::fetch): a
    /// [notice](crate::event::FailReason::Interrupted). Where the response comes after all, its `insert` takes the
    /// place of the notice, be that due, leased to anybody, or a dead letter. An id that is there already is left
    /// as it is by `begin`, and gets no lease.
    ///
    /// `None` for one of them says that it is not kept. Default: none is, and nobody is told of a run that
    /// was cut off.
    ///
    /// # Errors
    ///
    /// When nothing of the batch was kept, or nobody knows.
    fn begin(
        &self,
        runs: Vec<NewDelivery>,
    ) -> impl Future<Output = Result<Vec<Option<Lease>>, BoxError>> + Send {
        async move { Ok(vec![None; runs.len()]) }
    }

    /// Leases deliveries that are due, those that have been due for the longest first, as far as
    /// [`Want`] goes. It never waits for something to become due.
    ///
    /// # Errors
    ///
    /// When the outbox cannot be read; it is asked again a second later.
    fn fetch(&self, want: Want) -> impl Future<Output = Result<DueDeliveries, BoxError>> + Send;

    /// Notes what became of leased deliveries, and says of each whether its lease still held. The
    /// leases end with it. The order is that of the batch.
    ///
    /// A lease that has run out and that nobody has taken since may still hold, or be lost. A
    /// settlement that is lost with the machine costs a second delivery, and nothing else: it need not
    /// be on the disk when this resolves.
    ///
    /// # Errors
    ///
    /// When nothing was noted, or nobody knows: the batch is settled again, and the leases are
    /// renewed until then.
    fn settle(
        &self,
        batch: Vec<Settlement>,
    ) -> impl Future<Output = Result<Vec<SettleOutcome>, BoxError>> + Send;

    /// The heartbeat: these leases run for [`Limits::lease`] from now on. Gives back those that are
    /// lost. The dispatcher calls it three times in the time of a lease for as long as it holds any,
    /// so that an outbox needs no task of its own.
    ///
    /// # Errors
    ///
    /// When the outbox cannot be written.
    fn renew(
        &self,
        leases: Vec<Lease>,
    ) -> impl Future<Output = Result<Vec<Lease>, BoxError>> + Send;

    /// Hands every lease of this process back: what was leased is due again, as the same attempt.
    /// Gives what would be lost with the process, which is nothing for a durable outbox. It is
    /// called once, when the dispatcher has shut down. A closed outbox still answers every call: a
    /// durable one finds with [`fetch`](Self::fetch) what was handed back, and keeps what is inserted
    /// later for the next process.
    ///
    /// # Errors
    ///
    /// When the leases could not be handed back; they run out.
    fn close(&self) -> impl Future<Output = Result<Vec<StoredDelivery>, BoxError>> + Send;

    /// For how long the delivery has been due that has been due the longest, of those that are leased to
    /// nobody; `None` where nothing is due. Asked for [metrics](crate::dispatch::DispatcherBuilder), every
    /// few seconds: an index should know it.
    ///
    /// Default: `None`, which is also the answer of an outbox that cannot tell.
    ///
    /// # Errors
    ///
    /// When the outbox cannot be read.
    fn oldest_due(&self) -> impl Future<Output = Result<Option<Duration>, BoxError>> + Send {
        async { Ok(None) }
    }

    /// The deliveries that the filter lets through, newest first: by [`DeliveryId`], downwards. With their
    /// [envelopes](DeliveryRecord::with_envelope), where callers are to see the
    /// [status](crate::status()) of their calls.
    ///
    /// Only called where [`Limits::can_list`] is set. Default: an error.
    ///
    /// # Errors
    ///
    /// When the outbox cannot be read.
    fn list(
        &self,
        filter: DeliveryFilter,
        page: Page,
    ) -> impl Future<Output = Result<Vec<DeliveryRecord>, BoxError>> + Send {
        let _ = (filter, page);
        async { Err(unsupported()) }
    }

    /// What is known of one delivery. Only called where [`Limits::can_list`] is set. Default: an
    /// error.
    ///
    /// # Errors
    ///
    /// When the outbox cannot be read.
    fn get(
        &self,
        id: DeliveryId,
    ) -> impl Future<Output = Result<Option<DeliveryRecord>, BoxError>> + Send {
        let _ = id;
        async { Err(unsupported()) }
    }

    /// The payload of one delivery, where it is kept. Only called where [`Limits::can_list`] is set.
    /// Default: an error.
    ///
    /// # Errors
    ///
    /// When the outbox cannot be read.
    fn payload(
        &self,
        id: DeliveryId,
    ) -> impl Future<Output = Result<Option<Payload>, BoxError>> + Send {
        let _ = id;
        async { Err(unsupported()) }
    }

    /// Makes all dead letters that the filter lets through due at once, as a first attempt, and says
    /// how many they were. Their earlier attempts stay in their record.
    ///
    /// What the endpoint took is meant only where the filter names that state, `Delivered` or `Failed`;
    /// then those whose payloads are kept are due again. What waits or runs is never meant.
    ///
    /// Only called where [`Limits::can_redeliver`] is set. Default: an error.
    ///
    /// # Errors
    ///
    /// When the outbox cannot be written; some may be due then.
    fn redeliver(
        &self,
        filter: DeliveryFilter,
    ) -> impl Future<Output = Result<usize, BoxError>> + Send {
        let _ = filter;
        async { Err(unsupported()) }
    }

    /// Forgets all deliveries that wait, are leased to nobody, and pass the filter; says how many
    /// they were.
    ///
    /// Only called where [`Limits::can_cancel`] is set. Default: an error.
    ///
    /// # Errors
    ///
    /// When the outbox cannot be written; some may be gone then.
    fn cancel(
        &self,
        filter: DeliveryFilter,
    ) -> impl Future<Output = Result<usize, BoxError>> + Send {
        let _ = filter;
        async { Err(unsupported()) }
    }
}

fn unsupported() -> BoxError {
    "the outbox cannot do this".into()
}

/// What an [`Outbox`] promises and can do.
///
/// ```
/// use std::time::Duration;
/// use tower_webhook::outbox::{Durability, Limits};
///
/// let mut limits = Limits::new(Durability::LocalDisk);
/// limits.lease = Some(Duration::from_secs(10));
/// limits.max_payload = Some(1 << 20);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// What a delivery that was inserted survives.
    pub durability: Durability,
    /// The largest payload that is taken, in bytes. A larger one is delivered from memory, and never
    /// inserted. Default: any.
    pub max_payload: Option<usize>,
    /// How long a lease runs without being renewed. Default: for as long as the process lives.
    pub lease: Option<Duration>,
    /// Whether [`list`](Outbox::list), [`get`](Outbox::get) and [`payload`](Outbox::payload) are
    /// there. Default: no.
    pub can_list: bool,
    /// Whether [`redeliver`](Outbox::redeliver) is there. Default: no.
    pub can_redeliver: bool,
    /// Whether [`cancel`](Outbox::cancel) is there. Default: no.
    pub can_cancel: bool,
}

impl Limits {
    /// Those of an outbox that does no more than keep deliveries.
    #[must_use]
    pub fn new(durability: Durability) -> Self {
        Self {
            durability,
            max_payload: None,
            lease: None,
            can_list: false,
            can_redeliver: false,
            can_cancel: false,
        }
    }

    /// Whether deliveries outlive the process.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.durability != Durability::Memory
    }
}
