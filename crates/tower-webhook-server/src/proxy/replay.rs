use std::{
    collections::VecDeque,
    error::Error,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

/// Of a request's body, what is kept in case it must be sent again.
const KEPT: usize = 64 << 10;

/// The body of a request until its answer begins: it can be sent again while it is small enough.
pub(crate) struct Replay(Arc<Mutex<Source>>);

/// The body as one connection sends it.
pub(crate) struct Sending {
    source: Arc<Mutex<Source>>,
    turn: usize,
    /// What was kept of the turn before.
    again: VecDeque<Bytes>,
}

struct Source {
    body: Incoming,
    /// Who sends it now. Somebody before may not have heard yet that it is over.
    turn: usize,
    kept: Vec<Bytes>,
    bytes: usize,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Untouched,
    Kept,
    Gone,
}

impl Replay {
    pub(crate) fn new(body: Incoming) -> Self {
        Self(Arc::new(Mutex::new(Source {
            body,
            turn: 0,
            kept: Vec::new(),
            bytes: 0,
            state: State::Untouched,
        })))
    }

    /// The body from its beginning; nothing where too much of it is gone.
    pub(crate) fn send(&self) -> Option<Sending> {
        let mut source = lock(&self.0);
        if source.state == State::Gone {
            return None;
        }
        source.turn += 1;
        Some(Sending {
            source: Arc::clone(&self.0),
            turn: source.turn,
            again: source.kept.iter().cloned().collect(),
        })
    }

    /// There is a body, and nothing of it has been taken.
    pub(crate) fn is_untouched(&self) -> bool {
        let source = lock(&self.0);
        source.state == State::Untouched && !source.body.is_end_stream()
    }

    /// It will not be sent again.
    pub(crate) fn forget(&self) {
        lock(&self.0).forget();
    }
}

impl Source {
    fn forget(&mut self) {
        self.state = State::Gone;
        self.kept = Vec::new();
    }

    fn keep(&mut self, frame: &Frame<Bytes>) {
        let room = KEPT - self.bytes;
        match frame.data_ref() {
            _ if self.state == State::Gone => {}
            Some(data) if data.len() <= room => {
                self.state = State::Kept;
                self.bytes += data.len();
                self.kept.push(data.clone());
            }
            _ => self.forget(),
        }
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let mut source = lock(&this.source);
        if source.turn != this.turn {
            return Poll::Ready(Some(Err("it is being sent elsewhere".into())));
        }
        if let Some(data) = this.again.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let frame = ready!(Pin::new(&mut source.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => source.keep(frame),
            Some(Err(_)) => source.forget(),
            None => {}
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.again.is_empty() && lock(&self.source).body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let again = self.again.iter().map(|data| data.len() as u64).sum::<u64>();
        let mut hint = lock(&self.source).body.size_hint();
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + again);
        }
        hint.set_lower(hint.lower() + again);
        hint
    }
}

fn lock(source: &Mutex<Source>) -> MutexGuard<'_, Source> {
    source.lock().unwrap_or_else(PoisonError::into_inner)
}
