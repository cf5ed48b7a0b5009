use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Waker,
};

use futures_util::task::AtomicWaker;
use http::{Extensions, Request};
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};

/// What a socket tells the attempts that use it, one after the other, and what they tell it.
#[derive(Clone, Debug, Default)]
pub(super) struct Held(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// Bytes, since the last attempt was over.
    read: AtomicUsize,
    /// Whether something was written that is not known to be flushed.
    sends: AtomicBool,
    /// Whether something was read while that was so.
    heard_early: AtomicBool,
    is_cut: AtomicBool,
    waker: AtomicWaker,
}

impl Held {
    pub(super) fn writes(&self) {
        if !self.0.sends.swap(true, Ordering::AcqRel) {
            self.0.heard_early.store(false, Ordering::Release);
        }
    }

    pub(super) fn is_flushed(&self) {
        self.0.sends.store(false, Ordering::Release);
    }

    pub(super) fn has_read(&self, bytes: usize) {
        self.0.read.fetch_add(bytes, Ordering::AcqRel);
        if self.0.sends.load(Ordering::Acquire) {
            self.0.heard_early.store(true, Ordering::Release);
        }
    }

    pub(super) fn read(&self) -> usize {
        self.0.read.load(Ordering::Acquire)
    }

    /// Whoever uses the socket is woken with this waker when it is cut.
    pub(super) fn is_cut(&self, waker: &Waker) -> bool {
        self.0.waker.register(waker);
        self.0.is_cut.load(Ordering::Acquire)
    }

    /// Once an attempt has its answer, its connection may be the next one's, which may have begun
    /// to send: that is no reason to cut it. What was sent when the answer came is the attempt's
    /// own.
    pub(super) fn attempt_is_over(&self, answered: bool) {
        let sends = self.0.sends.load(Ordering::Acquire);
        let sends_for_another = answered && !self.0.heard_early.load(Ordering::Acquire);
        if sends && !sends_for_another {
            self.0.is_cut.store(true, Ordering::Release);
            self.0.waker.wake();
        }
        self.0.read.store(0, Ordering::Release);
    }
}

/// An attempt's hold on the socket that it uses. Dropped, it ends a socket that still sends.
///
/// hyper sends a request to its end whatever became of the attempt: to a receiver that does not
/// read it, for ever.
pub(super) struct Hold {
    connection: CaptureConnection,
    answered: bool,
}

impl Hold {
    pub(super) fn on<B>(request: &mut Request<B>) -> Self {
        Self {
            connection: capture_connection(request),
            answered: false,
        }
    }

    pub(super) fn is_answered(&mut self) {
        self.answered = true;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut extras = Extensions::new();
        if let Some(connected) = &*self.connection.connection_metadata() {
            connected.get_extras(&mut extras);
        }
        if let Some(held) = extras.get::<Held>() {
            held.attempt_is_over(self.answered);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_cut(held: &Held) -> bool {
        held.is_cut(Waker::noop())
    }

    #[test]
    fn a_socket_that_sends_is_cut_when_its_attempt_is_over() {
        let held = Held::default();
        held.writes();
        held.attempt_is_over(false);
        assert!(is_cut(&held));

        let held = Held::default();
        held.writes();
        held.has_read(1);
        held.attempt_is_over(true);
        assert!(is_cut(&held), "the answer came early");
    }

    #[test]
    fn a_socket_that_has_sent_is_not_cut() {
        let held = Held::default();
        for answered in [true, false] {
            held.writes();
            held.has_read(1);
            held.is_flushed();
            held.attempt_is_over(answered);
            assert!(!is_cut(&held));
        }
    }

    #[test]
    fn a_socket_that_sends_for_the_next_attempt_is_not_cut() {
        let held = Held::default();
        held.writes();
        held.has_read(1);
        held.is_flushed();
        held.has_read(1);
        held.writes();
        held.attempt_is_over(true);
        assert!(!is_cut(&held));
        held.attempt_is_over(false);
        assert!(is_cut(&held), "but when that one is over");
    }
}
