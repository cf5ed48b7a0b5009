//! What the thread works with, and what all calls share.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_nats::{
    Client,
    jetstream::{AckKind, Context, consumer::PullConsumer},
};
use futures_util::future::join_all;
use tower_webhook::{
    DeliveryId,
    outbox::{Lease, LeasedDelivery},
};

use crate::{
    clock::{self, ServerClock},
    leases::Leases,
    names::Name,
    parked::Parked,
    pull::Pulled,
    ready::{Ready, Waiting},
    takers::Takers,
    watch::Watch,
};

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) name: Name,
    pub(crate) replicas: usize,
    pub(crate) lease: Duration,
    pub(crate) timeout: Duration,
    pub(crate) dead_letters_kept: Duration,
    pub(crate) max_dead_letter_bytes: u64,
    pub(crate) max_payload: usize,
}

/// What of a message is not payload: ids, and the sealed envelope, whose headers have 8 KiB at most.
const HEADERS: usize = 64 << 10;

impl Settings {
    /// The bytes that a message may have.
    pub(crate) fn max_message(&self) -> usize {
        self.max_payload.saturating_add(HEADERS)
    }
}

pub(crate) struct Engine {
    pub(crate) client: Client,
    pub(crate) context: Context,
    pub(crate) settings: Settings,
    pub(crate) leases: Leases,
    pub(crate) clock: ServerClock,
    looked_at_clock: Mutex<Instant>,
    pub(crate) rebuilt: Mutex<Instant>,
    consumer: Mutex<PullConsumer>,
    /// Whoever has it pulls, and nobody else: what was pulled and is not handed out lies in it.
    pub(crate) pulling: tokio::sync::Mutex<Pulling>,
    inserting: Mutex<Inserting>,
}

pub(crate) struct Pulling {
    pub(crate) ready: Ready,
    pub(crate) waiting: Waiting,
    pub(crate) parked: Parked,
    pub(crate) takers: Takers,
    pub(crate) watch: Watch,
}

/// Deliveries that an insert is about to lease. Whoever pulls one of them leaves it here.
#[derive(Default)]
struct Inserting {
    ids: HashSet<DeliveryId>,
    pulled: HashMap<DeliveryId, Pulled>,
    /// When something was inserted.
    last: Option<Instant>,
}

impl Engine {
    pub(crate) fn new(
        client: Client,
        context: Context,
        consumer: PullConsumer,
        settings: Settings,
    ) -> Self {
        let pulling = Pulling {
            ready: Ready::default(),
            waiting: Waiting::default(),
            parked: Parked::default(),
            takers: Takers::default(),
            watch: Watch::new(),
        };
        Self {
            client,
            context,
            leases: Leases::new(settings.lease),
            clock: ServerClock::default(),
            looked_at_clock: Instant::now().into(),
            rebuilt: Instant::now().into(),
            settings,
            consumer: Mutex::new(consumer),
            pulling: pulling.into(),
            inserting: Mutex::default(),
        }
    }

    pub(crate) fn consumer(&self) -> PullConsumer {
        lock(&self.consumer).clone()
    }

    pub(crate) fn replace_consumer(&self, consumer: PullConsumer) {
        *lock(&self.consumer) = consumer;
    }

    /// From now on, whoever pulls one of these leaves it for the insert. Gives those that no other insert
    /// waits for.
    pub(crate) fn expect(&self, ids: impl Iterator<Item = DeliveryId>) -> Vec<DeliveryId> {
        let mut inserting = lock(&self.inserting);
        ids.filter(|id| inserting.ids.insert(*id)).collect()
    }

    /// Gives it back where no insert waits for it.
    pub(crate) fn leave_for_insert(&self, pulled: Pulled) -> Option<Pulled> {
        let mut inserting = lock(&self.inserting);
        match inserting.ids.contains(&pulled.stored.id) {
            true => {
                inserting.pulled.insert(pulled.stored.id, pulled);
                None
            }
            false => Some(pulled),
        }
    }

    pub(crate) fn note_publication(&self) {
        lock(&self.inserting).last = Some(Instant::now());
    }

    /// Whether this process has inserted something within this time.
    pub(crate) fn has_inserted_within(&self, time: Duration) -> bool {
        let last = lock(&self.inserting).last;
        last.is_some_and(|last| last.elapsed() < time)
    }

    pub(crate) fn has_come(&self, id: DeliveryId) -> bool {
        lock(&self.inserting).pulled.contains_key(&id)
    }

    /// What has come of these; no more of them is expected.
    pub(crate) fn end_expecting(&self, ids: &[DeliveryId]) -> HashMap<DeliveryId, Pulled> {
        let mut inserting = lock(&self.inserting);
        let mut come = HashMap::new();
        for id in ids {
            inserting.ids.remove(id);
            come.extend(inserting.pulled.remove_entry(id));
        }
        come
    }

    pub(crate) fn lease(&self, pulled: &Pulled, attempt: u32) -> Lease {
        let Pulled {
            stored,
            reply,
            sequence,
            delivered,
            at,
            ..
        } = pulled;
        let of_message = (*sequence, *delivered);
        self.leases
            .hold(stored.id, of_message, reply.clone(), attempt, *at)
    }

    /// Hands out what was pulled, as this attempt.
    pub(crate) fn hand_out(&self, pulled: Pulled, attempt: u32) -> LeasedDelivery {
        let lease = self.lease(&pulled, attempt);
        LeasedDelivery::new(lease, attempt, pulled.stored)
    }

    /// What nobody has asked for in time goes back, and leases that have run out are forgotten.
    pub(crate) async fn tidy(&self) {
        self.leases.sweep();
        if is_time(&self.looked_at_clock, clock::LOOK)
            && let Err(error) = self.look_at_the_clock().await
        {
            tracing::debug!(%error, "the server's clock could not be looked at");
        }
        if let Ok(mut pulling) = self.pulling.try_lock() {
            self.hand_back_older_than(self.settings.lease / 3, &mut pulling)
                .await;
        }
    }

    /// What lies ready, and would have too little left of its lease. What has nothing left of it, as this
    /// process stood still, is somebody else's by now.
    pub(crate) async fn hand_back_older_than(&self, age: Duration, pulling: &mut Pulling) {
        let mut old = pulling.ready.take_older_than(age);
        old.extend(pulling.waiting.take_older_than(age));
        let ours = old.into_iter().filter(|one| self.leases.lasts(one.at));
        let back = ours.map(|pulled| self.hint(pulled.reply, AckKind::Nak(None)));
        join_all(back).await;
    }

    /// Hands everything back.
    pub(crate) async fn leave(&self) {
        let mut replies: Vec<_> = {
            let mut pulling = self.pulling.lock().await;
            let ready = pulling.ready.take_older_than(Duration::ZERO).into_iter();
            ready
                .chain(pulling.waiting.take())
                .filter(|pulled| self.leases.lasts(pulled.at))
                .map(|pulled| pulled.reply)
                .collect()
        };
        replies.extend(self.leases.drain().into_iter().map(|held| held.reply));
        let back = replies
            .iter()
            .map(|reply| self.answer(reply, AckKind::Nak(None)));
        for result in join_all(back).await {
            if let Err(error) = result {
                tracing::warn!(%error, "the JetStream outbox could not hand back a lease");
            }
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the last time is so long ago. If so, this is the last time.
pub(crate) fn is_time(last: &Mutex<Instant>, pause: Duration) -> bool {
    let mut last = lock(last);
    let is_time = last.elapsed() >= pause;
    if is_time {
        *last = Instant::now();
    }
    is_time
}

/// Until when something that begins now may take.
pub(crate) fn deadline(time: Duration) -> Instant {
    Instant::now() + time
}
