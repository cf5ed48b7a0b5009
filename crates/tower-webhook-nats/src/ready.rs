//! What was pulled and not handed out: more bytes than were wanted, or what came in the place of a
//! delivery that was inserted. It is handed out before anything else is pulled.
//!
//! Beside it lies some of what is for hosts without a permit: as soon as there is one, it need not come
//! from the stream again.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use tower_webhook::endpoint::Host;

use crate::pull::Pulled;

/// The most that lies here before an insert stops looking for what it has inserted.
const DELIVERIES: usize = 256;
const BYTES: usize = 16 << 20;

/// The most that lies here of one host without a permit, and of all of them: as many as a host has permits
/// twice over, so that it never waits for the stream.
const OF_HOST: usize = 128;
const OF_HOSTS: usize = 1_024;
const BYTES_OF_HOSTS: usize = 64 << 20;

#[derive(Default)]
pub(crate) struct Ready {
    queue: VecDeque<Pulled>,
}

/// What lies here for hosts without a permit.
#[derive(Default)]
pub(crate) struct Waiting {
    queue: VecDeque<Pulled>,
    of_hosts: HashMap<Host, usize>,
    bytes: usize,
}

impl Waiting {
    /// Gives it back where there is no room for it.
    pub(crate) fn push(&mut self, pulled: Pulled) -> Option<Pulled> {
        let of_host = self.of_hosts.get(&pulled.stored.host).copied().unwrap_or(0);
        let bytes = self.bytes.saturating_add(pulled.stored.payload.len());
        if of_host >= OF_HOST || self.queue.len() >= OF_HOSTS || bytes > BYTES_OF_HOSTS {
            return Some(pulled);
        }
        self.bytes = bytes;
        self.of_hosts
            .insert(pulled.stored.host.clone(), of_host + 1);
        self.queue.push_back(pulled);
        None
    }

    /// The ones that came first.
    pub(crate) fn take(&mut self) -> VecDeque<Pulled> {
        std::mem::take(self).queue
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn take_older_than(&mut self, age: Duration) -> Vec<Pulled> {
        let is_old = |pulled: &Pulled| pulled.at.elapsed() >= age;
        let (old, left): (Vec<_>, Vec<_>) = self.take().into_iter().partition(is_old);
        for pulled in left {
            // There was room for it before.
            drop(self.push(pulled));
        }
        old
    }
}

impl Ready {
    pub(crate) fn push(&mut self, pulled: Pulled) {
        self.queue.push_back(pulled);
    }

    /// The ones that came first.
    pub(crate) fn take(&mut self) -> VecDeque<Pulled> {
        std::mem::take(&mut self.queue)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        let bytes = self.queue.iter().map(|pulled| pulled.stored.payload.len());
        self.queue.len() >= DELIVERIES || bytes.sum::<usize>() >= BYTES
    }

    pub(crate) fn take_older_than(&mut self, age: Duration) -> Vec<Pulled> {
        let is_old = |pulled: &Pulled| pulled.at.elapsed() >= age;
        let (old, queue): (Vec<_>, Vec<_>) = self.take().into_iter().partition(is_old);
        self.queue = queue.into();
        old
    }
}
