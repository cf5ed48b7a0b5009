use std::{
    any::Any,
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::FutureExt;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::{
    dispatch::AcceptFuture,
    event::FailReason,
    response::{self, Capture, Disconnect, PendingWebhook, Progress, RunOn, Runnable, Unfinished},
};

pin_project! {
    /// The body of a response that went through [`Webhook`](super::Webhook).
    ///
    /// It gives the wrapped body's frames as they are, when they are made. For a request that
    /// asked for a webhook it keeps a copy of each; dropped before its end, it lets the wrapped
    /// body run on.
    pub struct ResponseBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<B> {
        Plain { #[pin] body: B },
        Own { text: Option<Bytes> },
        Captured { captured: RunOn<CapturedBody<B>> },
    }
}

pin_project! {
    /// A body of which a copy is kept.
    struct CapturedBody<B> {
        #[pin]
        body: B,
        ahead: Ahead,
        state: State,
    }
}

/// What the body has given before anybody asked for it.
#[derive(Default)]
struct Ahead {
    frames: VecDeque<Frame<Bytes>>,
    /// Of the body's own type.
    error: Option<Box<dyn Any + Send>>,
    is_over: bool,
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

type PolledFrame<B> = Poll<Option<Result<Frame<Bytes>, <B as Body>::Error>>>;

/// A body that gives so many frames at once and is not complete yet is a stream.
const MOST_AHEAD: usize = 4;

impl<B> ResponseBody<B> {
    pub(super) fn plain(body: B) -> Self {
        Self {
            kind: Kind::Plain { body },
        }
    }

    pub(super) fn own(text: Bytes) -> Self {
        let text = Some(text);
        Self {
            kind: Kind::Own { text },
        }
    }
}

impl<B> ResponseBody<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Send + 'static,
{
    pub(super) fn captured(
        body: B,
        capture: Capture,
        pending: PendingWebhook,
        disconnect: Disconnect,
    ) -> Self {
        let captured = CapturedBody {
            body,
            ahead: Ahead::default(),
            state: State::Watching { capture, pending },
        };
        Self {
            kind: Kind::Captured {
                captured: RunOn::new(captured, disconnect),
            },
        }
    }

    /// Runs what is captured to its end, without a caller.
    pub(super) async fn finish(self) {
        if let Kind::Captured { captured } = self.kind {
            CapturedBody::finish(captured).await;
        }
    }
}

impl<B> ResponseBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Send + 'static,
{
    /// Ready once the head may go on: with the whole body, which is then safe, or before a body that
    /// takes longer.
    ///
    /// A server that has sent the head cannot send a small rest until the head is acknowledged, which
    /// takes 40 ms on a socket as it comes (Nagle, and delayed acknowledgements).
    pub(super) fn poll_look_ahead(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.kind {
            Kind::Plain { .. } | Kind::Own { .. } => Poll::Ready(()),
            Kind::Captured { captured } => captured.poll_with(|body| body.poll_look_ahead(cx)),
        }
    }
}

impl<B> CapturedBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Send + 'static,
{
    fn poll_look_ahead(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        while self.ahead.frames.len() < MOST_AHEAD && self.is_unfinished() {
            let polled = self.as_mut().poll_next(cx);
            let is_held_back = matches!(self.state, State::HeldBack(_));
            let ahead = self.as_mut().project().ahead;
            match polled {
                Poll::Pending if is_held_back => return Poll::Pending,
                Poll::Pending => break,
                Poll::Ready(Some(Ok(frame))) => ahead.frames.push_back(frame),
                Poll::Ready(Some(Err(error))) => ahead.error = Some(Box::new(error)),
                Poll::Ready(None) => ahead.is_over = true,
            }
        }
        Poll::Ready(())
    }

    fn poll_to_end(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        while self.is_unfinished() {
            if !matches!(ready!(self.as_mut().poll_next(cx)), Some(Ok(_))) {
                break;
            }
        }
        Poll::Ready(())
    }
}

impl<B: Body<Data = Bytes>> CapturedBody<B> {
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame<B>
    where
        B::Error: 'static,
    {
        let ahead = self.as_mut().project().ahead;
        if let Some(frame) = ahead.frames.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if let Some(error) = ahead.error.take().and_then(|error| error.downcast().ok()) {
            return Poll::Ready(Some(Err(*error)));
        }
        if std::mem::take(&mut ahead.is_over) {
            return Poll::Ready(None);
        }
        self.poll_next(cx)
    }

    /// The next frame of the wrapped body, or the one that is held back.
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame<B> {
        let mut this = self.as_mut().project();
        if let State::HeldBack(held) = this.state {
            ready!(held.accept.poll_unpin(cx));
            let frame = held.frame.take();
            *this.state = State::Through;
            return Poll::Ready(frame.map(Ok));
        }
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        let State::Watching { capture, pending } = this.state else {
            return Poll::Ready(frame);
        };
        let progress = match &frame {
            None => capture.end(),
            Some(Err(_)) => Progress::Failed(FailReason::BodyFailed),
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    capture.data(data, this.body.is_end_stream())
                } else if let Some(trailers) = frame.trailers_ref() {
                    pending.note_trailers(trailers);
                    capture.end()
                } else {
                    Progress::Open
                }
            }
        };
        match (progress, frame) {
            (Progress::Open, frame) => Poll::Ready(frame),
            (Progress::Complete, Some(Ok(frame))) => this
                .state
                .complete(Some(frame), cx)
                .map(|frame| frame.map(Ok)),
            (Progress::Complete, None) => this.state.complete(None, cx).map(|frame| frame.map(Ok)),
            (Progress::Failed(reason), frame) => {
                self.fail(reason);
                Poll::Ready(frame)
            }
            (Progress::Complete, Some(Err(_))) => unreachable!("an error completes no body"),
        }
    }

    fn is_end_stream(&self) -> bool {
        let nothing_is_left = self.ahead.frames.is_empty() && self.ahead.error.is_none();
        match self.state {
            State::HeldBack(_) => false,
            _ => nothing_is_left && self.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let held = match &self.state {
            State::HeldBack(held) => held.frame.as_ref(),
            State::Watching { .. } | State::Through => None,
        };
        let frames = self.ahead.frames.iter().chain(held);
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
}

impl<B> Runnable for CapturedBody<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Send + 'static,
{
    async fn finish(mut alone: RunOn<Self>) {
        std::future::poll_fn(|cx| alone.poll_with(|body| body.poll_to_end(cx))).await;
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: 'static,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame<B> {
        match self.project().kind.project() {
            KindProj::Plain { body } => body.poll_frame(cx),
            KindProj::Own { text } => Poll::Ready(text.take().map(Frame::data).map(Ok)),
            KindProj::Captured { captured } => captured.poll_with(|body| body.poll_frame(cx)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Plain { body } => body.is_end_stream(),
            Kind::Own { text } => text.is_none(),
            Kind::Captured { captured } => captured.get().is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Plain { body } => body.size_hint(),
            Kind::Own { text } => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
            Kind::Captured { captured } => captured.get().size_hint(),
        }
    }
}

impl<B: Default> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::plain(B::default())
    }
}

impl<B> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Plain { .. } => "plain",
            Kind::Own { .. } => "own",
            Kind::Captured { .. } => "captured",
        };
        f.debug_tuple("ResponseBody").field(&kind).finish()
    }
}
