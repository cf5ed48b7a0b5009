mod ahead;
mod captured;

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use self::captured::{CapturedBody, PolledFrame};
use crate::{
    event::FailReason,
    response::{Capture, Disconnect, PendingWebhook, RunOn, Unfinished},
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
        let captured = CapturedBody::new(body, capture, pending);
        Self {
            kind: Kind::Captured {
                captured: RunOn::new(captured, disconnect),
            },
        }
    }
}

/// What is captured runs on without a caller.
impl<B> ResponseBody<B> {
    fn captured_mut(&mut self) -> Option<&mut RunOn<CapturedBody<B>>> {
        match &mut self.kind {
            Kind::Captured { captured } => Some(captured),
            Kind::Plain { .. } | Kind::Own { .. } => None,
        }
    }

    pub(super) fn belongs_to_a_run(&mut self) {
        if let Some(captured) = self.captured_mut() {
            captured.belongs_to_a_run();
        }
    }

    pub(super) fn is_unfinished(&self) -> bool {
        match &self.kind {
            Kind::Captured { captured } => captured.get().is_unfinished(),
            Kind::Plain { .. } | Kind::Own { .. } => false,
        }
    }

    pub(super) fn fail(&mut self, reason: FailReason) {
        if let Some(captured) = self.captured_mut() {
            captured.get_mut().fail(reason);
        }
    }

    pub(super) fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<()>
    where
        B: Body<Data = Bytes>,
        B::Error: Send + 'static,
    {
        match self.captured_mut() {
            Some(captured) => captured.poll_with(|body| body.poll_to_end(cx)),
            None => Poll::Ready(()),
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

impl<B> Body for ResponseBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Send + 'static,
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
