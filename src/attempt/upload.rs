use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures_util::task::AtomicWaker;
use http::{Extensions, Request};
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};

/// How far a socket is with what it has to send, and how to end it.
#[derive(Clone, Debug, Default)]
pub(super) struct Upload(Arc<State>);

#[derive(Debug, Default)]
struct State {
    under_way: AtomicBool,
    is_cut: AtomicBool,
    waker: AtomicWaker,
}

impl Upload {
    /// Whether this begins an upload: nothing was under way.
    pub(super) fn begin(&self) -> bool {
        !self.0.under_way.swap(true, Ordering::AcqRel)
    }

    pub(super) fn is_flushed(&self) {
        self.0.under_way.store(false, Ordering::Release);
    }

    /// Whoever uses the socket is woken with this waker when it is cut.
    pub(super) fn is_cut(&self, waker: &std::task::Waker) -> bool {
        self.0.waker.register(waker);
        self.0.is_cut.load(Ordering::Acquire)
    }

    fn cut_if_under_way(&self) {
        if self.0.under_way.load(Ordering::Acquire) {
            self.0.is_cut.store(true, Ordering::Release);
            self.0.waker.wake();
        }
    }
}

/// An attempt's hold on the socket that it uses. Dropped, it ends a socket that is still sending.
///
/// hyper sends a request to its end whatever became of the attempt: to a receiver that does not
/// read it, for ever.
pub(super) struct Hold(CaptureConnection);

impl Hold {
    pub(super) fn on<B>(request: &mut Request<B>) -> Self {
        Self(capture_connection(request))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut extras = Extensions::new();
        if let Some(connected) = &*self.0.connection_metadata() {
            connected.get_extras(&mut extras);
        }
        if let Some(upload) = extras.get::<Upload>() {
            upload.cut_if_under_way();
        }
    }
}
