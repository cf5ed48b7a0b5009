//! Which leases this process holds.
//!
//! The server does not tell one holder of a message from the next: whoever knows a reply subject can
//! acknowledge the message, also for somebody else who has it by now. So a lease is judged here first.
//! It counts as lost a tenth of its time before the server gives the message to others.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_nats::Subject;
use tower_webhook::{DeliveryId, outbox::Lease};

/// A message that this process has pulled and not settled.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// Where its acknowledgement goes.
    pub(crate) reply: Subject,
    /// Its number in the stream.
    pub(crate) sequence: u64,
    pub(crate) attempt: u32,
    token: u64,
    /// When the server is known to have counted the lease anew, at the earliest.
    since: Instant,
    /// It was settled, in a batch of which something else failed: settled again it is so at once.
    is_settled: bool,
}

/// What a settlement finds.
#[derive(Debug)]
pub(crate) enum Found {
    Held(Held),
    Settled,
    Lost,
}

#[derive(Debug)]
pub(crate) struct Leases {
    held: Mutex<HashMap<DeliveryId, Held>>,
    time: Duration,
}

impl Leases {
    /// The time is that of the consumer, `ack_wait`.
    pub(crate) fn new(time: Duration) -> Self {
        Self {
            held: Mutex::default(),
            time: time - time / 10,
        }
    }

    pub(crate) fn hold(
        &self,
        id: DeliveryId,
        (sequence, delivered): (u64, u64),
        reply: Subject,
        attempt: u32,
        since: Instant,
    ) -> Lease {
        // The same message is delivered with another count each time, and its number is its own.
        let token = (sequence << 20) | (delivered & 0xf_ffff);
        let held = Held {
            reply,
            sequence,
            attempt,
            token,
            since,
            is_settled: false,
        };
        self.lock().insert(id, held);
        Lease::new(id, token)
    }

    /// Whether what was leased then is this process's still.
    pub(crate) fn lasts(&self, since: Instant) -> bool {
        since.elapsed() < self.time
    }

    pub(crate) fn find(&self, lease: Lease) -> Found {
        match self.lock().get(&lease.delivery) {
            Some(held) if held.token == lease.token && self.lasts(held.since) => {
                match held.is_settled {
                    true => Found::Settled,
                    false => Found::Held(held.clone()),
                }
            }
            _ => Found::Lost,
        }
    }

    /// The server has counted it anew, at this time or later.
    pub(crate) fn renewed(&self, lease: Lease, at: Instant) {
        if let Some(held) = self.lock().get_mut(&lease.delivery)
            && held.token == lease.token
        {
            held.since = held.since.max(at);
        }
    }

    pub(crate) fn settled(&self, lease: Lease) {
        if let Some(held) = self.lock().get_mut(&lease.delivery)
            && held.token == lease.token
        {
            held.is_settled = true;
        }
    }

    /// It is known no more.
    pub(crate) fn forget(&self, lease: Lease) {
        let mut leases = self.lock();
        if leases
            .get(&lease.delivery)
            .is_some_and(|held| held.token == lease.token)
        {
            leases.remove(&lease.delivery);
        }
    }

    /// Those that have run out are of no use to anybody.
    pub(crate) fn sweep(&self) {
        self.lock().retain(|_, held| self.lasts(held.since));
    }

    /// All that hold.
    pub(crate) fn drain(&self) -> Vec<Held> {
        let held = self
            .lock()
            .drain()
            .map(|(_, held)| held)
            .collect::<Vec<_>>();
        let holds = |held: &Held| !held.is_settled && self.lasts(held.since);
        held.into_iter().filter(holds).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<DeliveryId, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
