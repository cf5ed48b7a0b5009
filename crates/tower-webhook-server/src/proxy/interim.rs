//! What a service says before its answer: 103 Early Hints, 102 Processing (RFC 9110, 15.2).
//!
//! hyper hands it to a client, and its server has no way to send it. So it is written to the caller's connection
//! beside hyper, at a moment when hyper has written all that it had: what hyper writes next begins a
//! message. On HTTP/2 there is no such moment, and it is left out.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf as _, BytesMut};
use hyper::{HeaderMap, StatusCode, header::CONTENT_LENGTH};
use tokio::io::AsyncWrite;

use super::headers;

/// What waits to be written at most, while a caller reads nothing. The rest is left out.
const WAITING: usize = 64 << 10;

/// Of one HTTP/1 connection.
#[derive(Default)]
pub(super) struct Interim(Mutex<State>);

struct State {
    waiting: BytesMut,
    /// hyper has written all that it had.
    is_between: bool,
    /// The request that is not answered yet, counted from the first.
    turn: u64,
    /// The connection's task.
    waker: Option<Waker>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            waiting: BytesMut::new(),
            is_between: true,
            turn: 0,
            waker: None,
        }
    }
}

/// The right to say something before the answer to one request.
#[derive(Clone)]
pub(super) struct Turn {
    of: Arc<Interim>,
    number: u64,
}

impl Interim {
    /// A request has come.
    pub(super) fn begin(self: &Arc<Self>) -> Turn {
        let of = Arc::clone(self);
        let number = self.state().turn;
        Turn { of, number }
    }

    /// hyper has written all that it had, and so has this, where it is ready.
    pub(super) fn poll_flush(
        &self,
        cx: &mut Context<'_>,
        to: Pin<&mut (impl AsyncWrite + ?Sized)>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.state();
        state.is_between = true;
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        state.poll_write(cx, to)
    }

    /// hyper is about to write: what waits goes first, where it may.
    pub(super) fn poll_ahead(
        &self,
        cx: &mut Context<'_>,
        to: Pin<&mut (impl AsyncWrite + ?Sized)>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.state();
        if state.is_between {
            ready!(state.poll_write(cx, to))?;
            state.is_between = false;
        }
        Poll::Ready(Ok(()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        mut to: Pin<&mut (impl AsyncWrite + ?Sized)>,
    ) -> Poll<io::Result<()>> {
        while !self.waiting.is_empty() {
            let written = ready!(to.as_mut().poll_write(cx, &self.waiting))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.waiting.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl Turn {
    /// Says this, unless the request was answered meanwhile.
    pub(super) fn say(&self, status: StatusCode, headers: &HeaderMap) {
        // hyper itself asks for the body, and whoever upgrades has answered.
        let is_hypers = [StatusCode::CONTINUE, StatusCode::SWITCHING_PROTOCOLS].contains(&status);
        let message = message(status, headers);
        let mut state = self.of.state();
        let is_late = state.turn != self.number;
        if is_hypers || is_late || state.waiting.len() + message.len() > WAITING {
            return;
        }
        state.waiting.extend_from_slice(&message);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The request is answered: hyper writes that next.
    pub(super) fn end(self) {
        let mut state = self.of.state();
        state.turn += 1;
        if !state.is_between {
            // Something of the answer before is on its way still.
            state.waiting.clear();
        }
    }
}

fn message(status: StatusCode, headers: &HeaderMap) -> BytesMut {
    let mut headers = headers.clone();
    headers::strip_hop_by_hop(&mut headers);
    headers.remove(CONTENT_LENGTH);
    let reason = status.canonical_reason().unwrap_or_default();
    let mut message =
        BytesMut::from(format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).as_bytes());
    for (name, value) in &headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            message.extend_from_slice(part);
        }
    }
    message.extend_from_slice(b"\r\n");
    message
}
