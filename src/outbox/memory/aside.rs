use std::{
    collections::VecDeque,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::Entry;
use crate::{
    Host,
    per_host::{Amount, PerHost},
};

/// Deliveries that are due to hosts which had no room, in the order in which they became due.
pub(super) struct Aside {
    number: AtomicUsize,
    hosts: PerHost<VecDeque<Entry>>,
}

impl Aside {
    pub(super) fn new() -> Self {
        Self {
            number: AtomicUsize::new(0),
            hosts: PerHost::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.number.load(Ordering::SeqCst)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn has(&self, host: &Host) -> bool {
        !self.is_empty() && self.hosts.change(host, |entries| !entries.is_empty())
    }

    pub(super) fn put(&self, host: &Host, entry: Entry) {
        self.number.fetch_add(1, Ordering::SeqCst);
        self.hosts.change(host, |entries| entries.push_back(entry));
    }

    /// Puts one behind others of its host, or gives it back where there are none: of that host nobody
    /// may know.
    pub(super) fn put_behind(&self, entry: Entry) -> Result<(), Entry> {
        if self.is_empty() {
            return Err(entry);
        }
        let host = entry.delivery.endpoint().host_key().clone();
        self.hosts.change(&host, |entries| {
            if entries.is_empty() {
                return Err(entry);
            }
            self.number.fetch_add(1, Ordering::SeqCst);
            entries.push_back(entry);
            Ok(())
        })
    }

    /// Takes the first one of a host.
    pub(super) fn take_one(&self, host: &Host) -> Option<Entry> {
        let taken = self.hosts.change(host, VecDeque::pop_front);
        self.number
            .fetch_sub(usize::from(taken.is_some()), Ordering::SeqCst);
        taken
    }

    /// Takes the first ones of a host, at most so many.
    pub(super) fn take(&self, host: &Host, at_most: usize) -> Vec<Entry> {
        let taken: Vec<_> = self.hosts.change(host, |entries| {
            entries.drain(..at_most.min(entries.len())).collect()
        });
        self.number.fetch_sub(taken.len(), Ordering::SeqCst);
        taken
    }

    /// The hosts that have some.
    pub(super) fn hosts(&self) -> Vec<Host> {
        self.hosts.hosts()
    }
}

impl Amount for VecDeque<Entry> {
    fn is_none(&self) -> bool {
        self.is_empty()
    }
}
