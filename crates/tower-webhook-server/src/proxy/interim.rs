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

/// hyper flushes the socket only once it has written all that it had, and tries to do so before it reads the next
/// head. So it is between two messages from a flush until it writes again, and what is said meanwhile belongs
/// before the answer that it writes next. Pipelined flushes would break this.
///
/// While it is not between two, nothing of `waiting` has been written: what is taken away then is whole.
struct State {
    waiting: BytesMut,
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

    /// hyper has written all that it had. Says whether this has written some, once it has all.
    pub(super) fn poll_flush(
        &self,
        cx: &mut Context<'_>,
        to: Pin<&mut (impl AsyncWrite + ?Sized)>,
    ) -> Poll<io::Result<bool>> {
        let mut state = self.state();
        state.is_between = true;
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        state.poll_write(cx, to)
    }

    /// hyper is about to write: what waits goes first, where it may. Says whether some did.
    pub(super) fn poll_ahead(
        &self,
        cx: &mut Context<'_>,
        to: Pin<&mut (impl AsyncWrite + ?Sized)>,
    ) -> Poll<io::Result<bool>> {
        let mut state = self.state();
        if !state.is_between {
            return Poll::Ready(Ok(false));
        }
        let has_written = ready!(state.poll_write(cx, to))?;
        state.is_between = false;
        Poll::Ready(Ok(has_written))
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
    ) -> Poll<io::Result<bool>> {
        let has_some = !self.waiting.is_empty();
        while !self.waiting.is_empty() {
            let written = ready!(to.as_mut().poll_write(cx, &self.waiting))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.waiting.advance(written);
        }
        Poll::Ready(Ok(has_some))
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    const HINT: &str = "HTTP/1.1 103 Early Hints\r\n\r\n";

    fn say(turn: &Turn) {
        turn.say(StatusCode::EARLY_HINTS, &HeaderMap::new());
    }

    /// As hyper writes.
    async fn write(interim: &Interim, to: &mut DuplexStream, text: &str) {
        poll_fn(|cx| interim.poll_ahead(cx, Pin::new(to)))
            .await
            .unwrap();
        to.write_all(text.as_bytes()).await.unwrap();
    }

    async fn flush(interim: &Interim, to: &mut DuplexStream) -> bool {
        poll_fn(|cx| interim.poll_flush(cx, Pin::new(to)))
            .await
            .unwrap()
    }

    async fn all(to: DuplexStream, mut from: DuplexStream) -> String {
        drop(to);
        let mut text = String::new();
        from.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn what_is_said_goes_before_the_answer_at_once_or_with_it() {
        let (interim, (mut to, from)) = (Arc::new(Interim::default()), duplex(1 << 10));
        let first = interim.begin();
        say(&first);
        assert!(flush(&interim, &mut to).await);
        assert!(!flush(&interim, &mut to).await);
        say(&first);
        first.end();
        write(&interim, &mut to, "first").await;
        flush(&interim, &mut to).await;
        let second = interim.begin();
        say(&second);
        second.end();
        write(&interim, &mut to, "second").await;
        let expected = format!("{HINT}{HINT}first{HINT}second");
        assert_eq!(all(to, from).await, expected);
    }

    #[tokio::test]
    async fn nothing_is_said_inside_of_an_answer_or_after_it() {
        let (interim, (mut to, from)) = (Arc::new(Interim::default()), duplex(1 << 10));
        let first = interim.begin();
        first.clone().end();
        write(&interim, &mut to, "fir").await;
        // The next request has come, and the answer before is not written yet.
        let second = interim.begin();
        say(&first);
        say(&second);
        write(&interim, &mut to, "st").await;
        second.end();
        flush(&interim, &mut to).await;
        write(&interim, &mut to, "second").await;
        flush(&interim, &mut to).await;
        assert_eq!(all(to, from).await, "firstsecond");
    }

    #[tokio::test]
    async fn a_caller_that_reads_nothing_keeps_no_memory() {
        let interim = Arc::new(Interim::default());
        let turn = interim.begin();
        for _ in 0..10_000 {
            say(&turn);
        }
        assert!(interim.state().waiting.len() <= WAITING);
    }
}
