//! How much of a durable outbox is in memory, and whose.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use tokio::time::Instant;

use super::StoreState;
use crate::{
    delivery::Delivery,
    dispatch::{scheduler::Scheduler, store::Job},
    endpoint::Host,
    outbox::{Lease, LeasedDelivery},
};

#[derive(Clone, Copy)]
pub(super) struct Held {
    pub(super) token: u64,
    bytes: usize,
}

/// How much of a durable outbox is in memory at most.
#[derive(Clone, Copy)]
pub(in crate::dispatch) struct HeldBounds {
    pub(in crate::dispatch) deliveries: usize,
    pub(in crate::dispatch) bytes: usize,
}

/// How much of a durable outbox: held, asked for, or come.
#[derive(Clone, Copy, Default)]
pub(in crate::dispatch) struct Amount {
    pub(super) deliveries: usize,
    pub(super) bytes: usize,
}

impl Amount {
    pub(in crate::dispatch) fn of(deliveries: &[LeasedDelivery]) -> Self {
        let bytes = deliveries.iter().map(|leased| leased.stored.payload.len());
        Self {
            deliveries: deliveries.len(),
            bytes: bytes.sum(),
        }
    }
}

impl StoreState {
    /// Which deliveries that are about to be kept are to be leased at once. What is in memory anyway
    /// always is. What comes of the others is [no longer expected](Self::end_expecting) once it is
    /// held.
    pub(in crate::dispatch) fn choose_leases<'d>(
        &mut self,
        scheduler: &Scheduler<Job>,
        deliveries: impl Iterator<Item = &'d Delivery>,
    ) -> (Vec<bool>, Amount) {
        let mut chosen = Amount::default();
        if !self.is_durable || self.is_left_to_others {
            return (deliveries.map(|_| !self.is_durable).collect(), chosen);
        }
        let mut of_hosts: HashMap<&Host, usize, RandomState> = HashMap::default();
        let mut unanswered = scheduler.waiting_unanswered();
        let leased = deliveries.map(|delivery| {
            let len = delivery.kept_len();
            let host = delivery.endpoint().host_key();
            let of_host = of_hosts.entry(host).or_default();
            let room = scheduler.room_for(host);
            let left = self.left();
            let has_room = room.deliveries > *of_host
                && left.deliveries > chosen.deliveries
                && left.bytes >= chosen.bytes.saturating_add(len);
            // A new host finds room, however many there are that do not answer.
            let is_new = room.is_new && *of_host == 0;
            let is_chosen = has_room
                && (room.is_answering || is_new || unanswered < self.bounds.deliveries / 2);
            if is_chosen {
                *of_host += 1;
                chosen.deliveries += 1;
                chosen.bytes += len;
                unanswered += usize::from(!room.is_answering);
            }
            is_chosen
        });
        let leased = leased.collect();
        self.expect(chosen);
        (leased, chosen)
    }

    /// How much more can be held.
    pub(super) fn left(&self) -> Amount {
        let deliveries = self.held.len() + self.expected.deliveries;
        let bytes = self.held_bytes + self.expected.bytes;
        Amount {
            deliveries: self.bounds.deliveries.saturating_sub(deliveries),
            bytes: self.bounds.bytes.saturating_sub(bytes),
        }
    }

    pub(super) fn expect(&mut self, more: Amount) {
        self.expected.deliveries += more.deliveries;
        self.expected.bytes += more.bytes;
    }

    /// It is held by now, or will not come.
    pub(in crate::dispatch) fn end_expecting(&mut self, no_more: Amount) {
        self.expected.deliveries -= no_more.deliveries;
        self.expected.bytes -= no_more.bytes;
    }

    /// Whether something of hosts that are not known to answer has to make way for a new one.
    pub(in crate::dispatch) fn has_too_many_unanswered(&self, scheduler: &Scheduler<Job>) -> bool {
        self.is_durable && scheduler.waiting_unanswered() > self.bounds.deliveries / 2
    }

    /// Hosts that are not known to answer have half of what is held: others always find room.
    pub(super) fn has_room_for_unanswered(&self, scheduler: &Scheduler<Job>) -> bool {
        scheduler.waiting_unanswered() < self.bounds.deliveries / 2
    }

    pub(in crate::dispatch) fn hold(&mut self, lease: Lease, bytes: usize, now: Instant) {
        if !self.is_durable {
            return;
        }
        let token = lease.token;
        let before = self.held.insert(lease.delivery, Held { token, bytes });
        self.held_bytes += bytes;
        self.held_bytes -= before.map_or(0, |before| before.bytes);
        self.renew_from(now);
    }

    /// The lease has ended. Says whether it is time to ask for more.
    pub(in crate::dispatch) fn let_go(&mut self, lease: Lease) -> bool {
        let had_room = self.has_room();
        let is_ours = |held: &&Held| held.token == lease.token;
        if self.held.get(&lease.delivery).filter(is_ours).is_some()
            && let Some(held) = self.held.remove(&lease.delivery)
        {
            self.held_bytes -= held.bytes;
        }
        self.has_more && !had_room && self.has_room()
    }

    /// Whether a quarter is free: room for one delivery is not worth a question.
    pub(super) fn has_room(&self) -> bool {
        let HeldBounds { deliveries, bytes } = self.bounds;
        self.held.len() <= deliveries - deliveries / 4 && self.held_bytes <= bytes - bytes / 4
    }
}
