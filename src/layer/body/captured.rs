//! A body of which a copy is kept, and that runs on without a caller.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use futures_util::FutureExt;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::ahead::Ahead;
use crate::{
    dispatch::AcceptFuture,
    event::FailReason,
    response::{self, Capture, PendingWebhook, Progress, Runnable, Unfinished},
};

pin_project! {
    /// A body of which a copy is kept.
    pub(super) struct CapturedBody<B> {
        #[pin]
        body: B,
        // Before the head went on.
        ahead: Ahead,
        // What came behind a frame that is held back; most have none.
        next: Option<Box<Ahead>>,
        state: State,
    }
}

enum State {
    /// The body is not complete.
    Watching {
        capture: Capture,
        pending: PendingWebhook,
    },
    /// The body is complete. What completed it waits for the outbox.
    HeldBack(Box<HeldEnd>),
    /// There is nothing left to do.
    Through,
}

struct HeldEnd {
    /// `None` for the body's end itself.
    frame: Option<Frame<Bytes>>,
    accept: AcceptFuture,
}

pub(super) type PolledFrame<B> = Poll<Option<Result<Frame<Bytes>, <B as Body>::Error>>>;

/// A body that gives so many frames at once and is not complete yet is a stream.
const MOST_AHEAD: usize = 4;

impl<B> CapturedBody<B> {
    pub(super) fn new(body: B, capture: Capture, pending: PendingWebhook) -> Self {
        Self {
            body,
            ahead: Ahead::default(),
            next: None,
            state: State::Watching { capture, pending },
        }
    }
}

impl<B> CapturedBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Send + 'static,
{
    pub(super) fn poll_look_ahead(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        while self.ahead.len() < MOST_AHEAD && self.is_unfinished() {
            let polled = self.as_mut().poll_next(cx);
            let is_held_back = matches!(self.state, State::HeldBack(_));
            let ahead = self.as_mut().project().ahead;
            match polled {
                Poll::Pending if is_held_back => return Poll::Pending,
                Poll::Pending => break,
                Poll::Ready(given) => ahead.push(given),
            }
        }
        Poll::Ready(())
    }

    /// For nobody. On HTTP/1 nobody would wait for what comes behind the declared length.
    pub(super) fn poll_to_end(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        while self.is_unfinished() {
            match self.as_mut().poll_next(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(_) => break,
                Poll::Pending => {
                    if !self.may_have_trailers() {
                        self.as_mut().complete_if_whole();
                    }
                    match self.is_unfinished() {
                        true => return Poll::Pending,
                        false => break,
                    }
                }
            }
        }
        Poll::Ready(())
    }

    /// Apart, so that a body of which no copy is kept pays nothing for it.
    #[inline(never)]
    pub(super) fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame<B> {
        match self.as_mut().project().ahead.pop() {
            Some(given) => Poll::Ready(given),
            None => self.poll_next(cx),
        }
    }

    /// The next frame of the wrapped body, or the one that is held back.
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame<B> {
        let this = self.as_mut().project();
        if let State::HeldBack(held) = this.state {
            ready!(held.accept.poll_unpin(cx));
            let frame = held.frame.take();
            *this.state = State::Through;
            return Poll::Ready(frame.map(Ok));
        }
        if let Some(given) = this.next.as_mut().and_then(|next| next.pop()) {
            return Poll::Ready(given);
        }
        let frame = match this.body.poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => return self.poll_pending(cx),
        };
        match (self.as_mut().note(frame.as_ref()), frame) {
            (Progress::Open, frame) => Poll::Ready(frame),
            (Progress::Whole, Some(Ok(frame))) => self.poll_behind(frame, cx),
            (Progress::Complete, Some(Ok(frame))) => self.poll_complete(Some(frame), cx),
            (Progress::Complete, None) => self.poll_complete(None, cx),
            (Progress::Failed(reason), frame) => {
                self.fail(reason);
                Poll::Ready(frame)
            }
            (Progress::Whole | Progress::Complete, _) => {
                unreachable!("only data makes it whole, and an error completes nothing")
            }
        }
    }

    /// What is seen of the response by what the body has given.
    fn note(self: Pin<&mut Self>, given: Option<&Result<Frame<Bytes>, B::Error>>) -> Progress {
        let this = self.project();
        let State::Watching { capture, pending } = this.state else {
            return Progress::Open;
        };
        match given {
            None => capture.end(),
            Some(Err(_)) => Progress::Failed(FailReason::BodyFailed),
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    match capture.data(data, this.body.is_end_stream()) {
                        failed @ Progress::Failed(_) => failed,
                        progress if pending.grow_to(capture.len()) => progress,
                        _ => Progress::Failed(FailReason::NoRoom),
                    }
                } else if let Some(trailers) = frame.trailers_ref() {
                    match pending.note_trailers(trailers, capture.len()) {
                        true => capture.end(),
                        false => Progress::Failed(FailReason::NoRoom),
                    }
                } else {
                    Progress::Open
                }
            }
        }
    }

    /// The payload is whole with this frame. A server on HTTP/1 drops the body behind it; where the
    /// response's end is to be held back, it is this frame that must not go on too soon.
    fn poll_behind(
        mut self: Pin<&mut Self>,
        frame: Frame<Bytes>,
        cx: &mut Context<'_>,
    ) -> PolledFrame<B> {
        if !self.holds_back() {
            return Poll::Ready(Some(Ok(frame)));
        }
        let this = self.as_mut().project();
        let Poll::Ready(given) = this.body.poll_frame(cx) else {
            return match self.may_have_trailers() {
                true => Poll::Ready(Some(Ok(frame))),
                false => self.poll_complete(Some(frame), cx),
            };
        };
        let progress = self.as_mut().note(given.as_ref());
        let next = self.as_mut().project().next;
        next.get_or_insert_default().push(given);
        match progress {
            Progress::Complete => return self.poll_complete(Some(frame), cx),
            Progress::Failed(reason) => self.fail(reason),
            Progress::Open | Progress::Whole => {}
        }
        Poll::Ready(Some(Ok(frame)))
    }

    /// Nothing has come. Where nothing needs to come, that is the end for a server on HTTP/1, which
    /// asks for nothing of a body whose declared length is 0.
    fn poll_pending(self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame<B> {
        match &self.state {
            State::Watching { capture, .. }
                if capture.len() == 0
                    && capture.is_whole()
                    && self.holds_back()
                    && !self.may_have_trailers() =>
            {
                self.poll_complete(None, cx)
            }
            _ => Poll::Pending,
        }
    }

    fn poll_complete(
        self: Pin<&mut Self>,
        frame: Option<Frame<Bytes>>,
        cx: &mut Context<'_>,
    ) -> PolledFrame<B> {
        let state = self.project().state;
        state.complete(frame, cx).map(|frame| frame.map(Ok))
    }
}

impl<B> CapturedBody<B> {
    fn holds_back(&self) -> bool {
        match &self.state {
            State::Watching { pending, .. } => pending.dispatcher().holds_responses_back(),
            State::HeldBack(_) | State::Through => false,
        }
    }

    fn may_have_trailers(&self) -> bool {
        match &self.state {
            State::Watching { pending, .. } => pending.may_have_trailers(),
            State::HeldBack(_) | State::Through => false,
        }
    }
}

impl<B: Body<Data = Bytes>> CapturedBody<B> {
    pub(super) fn is_end_stream(&self) -> bool {
        let next_is_empty = self.next.as_ref().is_none_or(|next| next.is_empty());
        let nothing_is_left = self.ahead.is_empty() && next_is_empty;
        match self.state {
            State::HeldBack(_) => false,
            _ => nothing_is_left && self.body.is_end_stream(),
        }
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let held = match &self.state {
            State::HeldBack(held) => held.frame.as_ref(),
            State::Watching { .. } | State::Through => None,
        };
        let next = self.next.iter().flat_map(|next| next.frames());
        let frames = self.ahead.frames().chain(held).chain(next);
        let before = frames
            .filter_map(Frame::data_ref)
            .map(|data| data.len() as u64);
        added_to(self.body.size_hint(), before.sum())
    }
}

/// What is left, and so many bytes before it.
fn added_to(left: SizeHint, bytes: u64) -> SizeHint {
    if bytes == 0 {
        return left;
    }
    let mut sum = SizeHint::new();
    sum.set_lower(left.lower().saturating_add(bytes));
    if let Some(upper) = left.upper() {
        sum.set_upper(upper.saturating_add(bytes));
    }
    sum
}

impl State {
    /// This has completed the body: it goes on at once, where there is nothing to wait for.
    fn complete(
        &mut self,
        frame: Option<Frame<Bytes>>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Frame<Bytes>>> {
        if let Self::Watching { capture, pending } = std::mem::replace(self, Self::Through)
            && let Some(accept) = pending.complete(capture.into_payload(), cx)
        {
            *self = Self::HeldBack(Box::new(HeldEnd { frame, accept }));
            return Poll::Pending;
        }
        Poll::Ready(frame)
    }
}

impl<B> Unfinished for CapturedBody<B> {
    fn is_unfinished(&self) -> bool {
        !matches!(self.state, State::Through)
    }

    fn fail(self: Pin<&mut Self>, reason: FailReason) {
        match std::mem::replace(self.project().state, State::Through) {
            State::Watching { pending, .. } => pending.fail(reason),
            State::HeldBack(held) => response::wait_on(held.accept),
            State::Through => {}
        }
    }

    fn pending(self: Pin<&mut Self>) -> Option<&mut PendingWebhook> {
        match self.project().state {
            State::Watching { pending, .. } => Some(pending),
            State::HeldBack(_) | State::Through => None,
        }
    }

    fn complete_if_whole(self: Pin<&mut Self>) {
        let state = self.project().state;
        let is_whole = |state: &State| match state {
            State::Watching { capture, .. } => capture.is_whole(),
            State::HeldBack(_) | State::Through => false,
        };
        if is_whole(state) {
            let mut nobody = Context::from_waker(Waker::noop());
            let _ = state.complete(None, &mut nobody);
            if let State::HeldBack(held) = std::mem::replace(state, State::Through) {
                response::wait_on(held.accept);
            }
        }
    }
}

impl<B> Runnable for CapturedBody<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Send + 'static,
{
    fn poll_finish(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_to_end(cx)
    }
}
