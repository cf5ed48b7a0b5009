use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::FutureExt;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::{
    capture::{Capture, Progress},
    detach::{self, Detach, Detached, Disconnect, Finish},
    dispatch::Accepting,
    event::FailReason,
    ticket::Ticket,
};

pin_project! {
    /// The body of a response that went through [`Webhook`](crate::Webhook).
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
        Watched { watched: Detached<Watched<B>> },
    }
}

pin_project! {
    /// A body of which a copy is kept.
    pub(crate) struct Watched<B> {
        #[pin]
        body: B,
        state: State,
    }
}

enum State {
    /// The body is not complete.
    Watching { capture: Capture, ticket: Ticket },
    /// The body is complete. What completed it waits for the outbox.
    Holding(Box<Holding>),
    /// There is nothing left to do.
    Through,
}

struct Holding {
    held: Held,
    accepting: Accepting,
}

enum Held {
    Frame(Frame<Bytes>),
    End,
}

type Polled<E> = Poll<Option<Result<Frame<Bytes>, E>>>;
type PolledFrame<B> = Polled<<B as Body>::Error>;

impl<B> ResponseBody<B> {
    pub(crate) fn plain(body: B) -> Self {
        Self {
            kind: Kind::Plain { body },
        }
    }

    pub(crate) fn own(text: Bytes) -> Self {
        let text = Some(text);
        Self {
            kind: Kind::Own { text },
        }
    }

    /// The wrapped body, where nothing is done with it.
    pub(crate) fn into_plain(self) -> Result<B, Self> {
        match self.kind {
            Kind::Plain { body } => Ok(body),
            kind => Err(Self { kind }),
        }
    }
}

impl<B> ResponseBody<B>
where
    B: Body<Data = Bytes> + Send + 'static,
{
    pub(crate) fn watched(
        body: B,
        capture: Capture,
        ticket: Ticket,
        disconnect: Disconnect,
    ) -> Self {
        let watched = Watched {
            body,
            state: State::Watching { capture, ticket },
        };
        Self {
            kind: Kind::Watched {
                watched: Detached::new(watched, disconnect),
            },
        }
    }
}

impl<B: Body<Data = Bytes>> ResponseBody<B> {
    /// Runs what is watched to its end, without a caller.
    pub(crate) async fn finish(self)
    where
        B: Send + 'static,
    {
        if let Kind::Watched { watched } = self.kind {
            Watched::finish(watched).await;
        }
    }
}

impl<B: Body<Data = Bytes>> Watched<B> {
    fn poll_to_end(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        while self.is_unfinished() {
            if !matches!(ready!(self.as_mut().poll_frame(cx)), Some(Ok(_))) {
                break;
            }
        }
        Poll::Ready(())
    }

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame<B> {
        let mut this = self.as_mut().project();
        if let State::Holding(_) = this.state {
            return this.state.poll_held(cx);
        }
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        let State::Watching { capture, ticket } = this.state else {
            return Poll::Ready(frame);
        };
        let progress = match &frame {
            None => capture.end(),
            Some(Err(_)) => Progress::Failed(FailReason::BodyFailed),
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    capture.data(data, this.body.is_end_stream())
                } else if let Some(trailers) = frame.trailers_ref() {
                    ticket.note_trailers(trailers);
                    capture.end()
                } else {
                    Progress::Open
                }
            }
        };
        match (progress, frame) {
            (Progress::Open, frame) => Poll::Ready(frame),
            (Progress::Complete, Some(Ok(frame))) => this.state.complete(Held::Frame(frame), cx),
            (Progress::Complete, None) => this.state.complete(Held::End, cx),
            (Progress::Failed(reason), frame) => {
                self.fail(reason);
                Poll::Ready(frame)
            }
            (Progress::Complete, Some(Err(_))) => unreachable!("an error completes no body"),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self.state {
            State::Holding(_) => false,
            _ => self.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.body.size_hint();
        match &self.state {
            State::Holding(holding) => holding.held.added_to(hint),
            _ => hint,
        }
    }
}

impl State {
    fn complete<E>(&mut self, held: Held, cx: &mut Context<'_>) -> Polled<E> {
        if let Self::Watching { capture, ticket } = std::mem::replace(self, Self::Through) {
            // An outbox in memory lets nobody wait.
            if let Some(accepting) = ticket.complete(capture.into_payload(), cx) {
                *self = Self::Holding(Box::new(Holding { held, accepting }));
                return Poll::Pending;
            }
        }
        Poll::Ready(held.into_frame())
    }

    fn poll_held<E>(&mut self, cx: &mut Context<'_>) -> Polled<E> {
        if let Self::Holding(holding) = self {
            ready!(holding.accepting.poll_unpin(cx));
        }
        match std::mem::replace(self, Self::Through) {
            Self::Holding(holding) => Poll::Ready(holding.held.into_frame()),
            _ => Poll::Ready(None),
        }
    }
}

impl Held {
    fn into_frame<E>(self) -> Option<Result<Frame<Bytes>, E>> {
        match self {
            Self::Frame(frame) => Some(Ok(frame)),
            Self::End => None,
        }
    }

    /// What is left, and the frame that is held back.
    fn added_to(&self, left: SizeHint) -> SizeHint {
        let Self::Frame(frame) = self else {
            return left;
        };
        let held = frame.data_ref().map_or(0, |data| data.len() as u64);
        let mut sum = SizeHint::new();
        sum.set_lower(left.lower().saturating_add(held));
        if let Some(upper) = left.upper() {
            sum.set_upper(upper.saturating_add(held));
        }
        sum
    }
}

impl<B> Detach for Watched<B> {
    fn is_unfinished(&self) -> bool {
        !matches!(self.state, State::Through)
    }

    fn fail(self: Pin<&mut Self>, reason: FailReason) {
        match std::mem::replace(self.project().state, State::Through) {
            State::Watching { ticket, .. } => ticket.fail(reason),
            State::Holding(holding) => detach::wait_on(holding.accepting),
            State::Through => {}
        }
    }
}

impl<B> Finish for Watched<B>
where
    B: Body<Data = Bytes> + Send + 'static,
{
    async fn finish(mut alone: Detached<Self>) {
        std::future::poll_fn(|cx| alone.poll_with(|watched| watched.poll_to_end(cx))).await;
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame<B> {
        match self.project().kind.project() {
            KindProj::Plain { body } => body.poll_frame(cx),
            KindProj::Own { text } => Poll::Ready(text.take().map(Frame::data).map(Ok)),
            KindProj::Watched { watched } => watched.poll_with(|watched| watched.poll_frame(cx)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Plain { body } => body.is_end_stream(),
            Kind::Own { text } => text.is_none(),
            Kind::Watched { watched } => watched.get().is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Plain { body } => body.size_hint(),
            Kind::Own { text } => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
            Kind::Watched { watched } => watched.get().size_hint(),
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
            Kind::Watched { .. } => "watched",
        };
        f.debug_tuple("ResponseBody").field(&kind).finish()
    }
}
