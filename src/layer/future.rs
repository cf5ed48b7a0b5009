use std::{
    fmt,
    future::Future,
    ops::ControlFlow::{self, Break, Continue},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;

use super::{ResponseBody, receipt::Receipt};
use crate::{
    ask::Problem,
    delivery::Payload,
    dispatch::AcceptFuture,
    event::FailReason,
    response::{self, BodyStart, Capture, Disconnect, PendingWebhook, RunOn, Runnable, Unfinished},
};

pin_project! {
    /// The future of a call of [`Webhook`](super::Webhook).
    ///
    /// For a call that asked for a webhook, the wrapped future runs on when this is dropped.
    pub struct ResponseFuture<F, B> {
        #[pin]
        kind: Kind<F, B>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<F, B> {
        Plain { #[pin] future: F },
        Refused { problem: Problem },
        Running { run: RunOn<Run<F, B>> },
    }
}

pin_project! {
    /// A call that asked for a webhook, until its response goes on.
    struct Run<F, B> {
        #[pin]
        future: F,
        state: State<B>,
        disconnect: Disconnect,
        forwards: fn(StatusCode) -> bool,
        // Where it has a 202 in place of a response that takes too long.
        receipt: Option<Box<Receipt>>,
    }
}

enum State<B> {
    /// For the response.
    Waiting(PendingWebhook),
    /// The response is complete with its head, which waits for the outbox.
    HeldBack(Box<HeldHead<B>>),
    /// The response's body may be complete with its first frame: then both go on together.
    LookingAhead(Response<ResponseBody<B>>),
    /// There is no caller: the body runs to its end.
    Finishing(Box<ResponseBody<B>>),
    Through,
}

struct HeldHead<B> {
    response: Response<B>,
    accept: AcceptFuture,
}

type Answer<B, E> = Result<Response<ResponseBody<B>>, E>;

impl<F, B> ResponseFuture<F, B> {
    pub(super) fn plain(future: F) -> Self {
        Self {
            kind: Kind::Plain { future },
        }
    }

    pub(super) fn refused(problem: Problem) -> Self {
        Self {
            kind: Kind::Refused { problem },
        }
    }
}

impl<F, B, E> ResponseFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Send + 'static,
    E: Send,
{
    pub(super) fn running(
        future: F,
        pending: PendingWebhook,
        disconnect: Disconnect,
        forwards: fn(StatusCode) -> bool,
        receipt: Option<Receipt>,
    ) -> Self {
        let run = Run {
            future,
            state: State::Waiting(pending),
            disconnect,
            forwards,
            receipt: receipt.map(Box::new),
        };
        let run = RunOn::new(run, disconnect);
        Self {
            kind: Kind::Running { run },
        }
    }
}

impl<F, B, E> Future for ResponseFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Send + 'static,
{
    type Output = Answer<B, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            KindProj::Plain { future } => future
                .poll(cx)
                .map_ok(|response| response.map(ResponseBody::plain)),
            KindProj::Refused { problem } => {
                Poll::Ready(Ok(problem.response().map(ResponseBody::own)))
            }
            KindProj::Running { run } => poll_running(run, cx),
        }
    }
}

/// Apart, so that whoever asks for nothing pays nothing for it.
#[inline(never)]
fn poll_running<F, B, E>(run: &mut RunOn<Run<F, B>>, cx: &mut Context<'_>) -> Poll<Answer<B, E>>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Send + 'static,
{
    match run.get_mut().project().receipt.take() {
        None => run.poll_with(|run| run.poll(cx)),
        Some(receipt) => poll_with_receipt(run, receipt, cx),
    }
}

/// The response, where its head is there in time, or the receipt: then the call runs on by itself.
fn poll_with_receipt<F, B, E>(
    run: &mut RunOn<Run<F, B>>,
    mut receipt: Box<Receipt>,
    cx: &mut Context<'_>,
) -> Poll<Answer<B, E>>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Send + 'static,
{
    if !receipt.is_recording() {
        if receipt.waits() {
            let polled = run.poll_with(|run| run.poll(cx));
            if !matches!(run.get().state, State::Waiting(_)) {
                // There is a head. It may wait for the outbox still.
                return polled;
            }
        }
        if receipt.poll_time(cx).is_ready()
            && let Some(pending) = run.get_mut().pending()
        {
            receipt.record(pending.promise());
        }
    }
    if !receipt.is_recording() || receipt.poll_recorded(cx).is_pending() {
        *run.get_mut().project().receipt = Some(receipt);
        return Poll::Pending;
    }
    run.leave();
    Poll::Ready(Ok(receipt.response().map(ResponseBody::own)))
}

impl<F, B, E> Run<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Send + 'static,
{
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer<B, E>> {
        let this = self.project();
        if let State::Waiting(_) = this.state {
            let answer = ready!(this.future.poll(cx));
            let State::Waiting(pending) = std::mem::replace(this.state, State::Through) else {
                unreachable!("it was waiting for this answer");
            };
            match answered(pending, answer, *this.disconnect, *this.forwards, cx) {
                Break(answer) => return Poll::Ready(answer),
                Continue(state) => *this.state = state,
            }
        }
        match this.state {
            State::HeldBack(held) => ready!(held.accept.poll_unpin(cx)),
            State::LookingAhead(response) => ready!(response.body_mut().poll_look_ahead(cx)),
            State::Waiting(_) | State::Finishing(_) | State::Through => {}
        }
        Poll::Ready(Ok(match std::mem::replace(this.state, State::Through) {
            State::HeldBack(held) => held.response.map(ResponseBody::plain),
            State::LookingAhead(response) => response,
            State::Waiting(_) | State::Finishing(_) | State::Through => {
                panic!("polled after it was ready")
            }
        }))
    }
}

/// What goes on at once, or what it has to wait for.
fn answered<B, E>(
    mut pending: PendingWebhook,
    answer: Result<Response<B>, E>,
    disconnect: Disconnect,
    forwards: fn(StatusCode) -> bool,
    cx: &mut Context<'_>,
) -> ControlFlow<Answer<B, E>, State<B>>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Send + 'static,
{
    let plain = |response: Response<B>| Break(Ok(response.map(ResponseBody::plain)));
    let mut response = match answer {
        Ok(response) => response,
        Err(error) => {
            pending.fail(FailReason::ServiceFailed);
            return Break(Err(error));
        }
    };
    pending.show_id(&mut response);
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        pending.fail(FailReason::Upgraded);
        return plain(response);
    }
    if !forwards(response.status()) {
        pending.fail(FailReason::StatusNotForwarded);
        return plain(response);
    }
    pending.note_head(&response);
    let limit = pending.dispatcher().body_limit();
    let is_held_back = pending.dispatcher().holds_responses_back();
    match response::start(pending.asked_for_head(), &response) {
        BodyStart::Empty => match pending.complete(Payload::default(), cx) {
            None => plain(response),
            Some(accept) => Continue(State::HeldBack(Box::new(HeldHead { response, accept }))),
        },
        BodyStart::Watch { declared } => {
            if let Err(reason) = pending.expect_body(declared) {
                pending.fail(reason);
                return plain(response);
            }
            let capture = Capture::new(declared, limit);
            let response =
                response.map(|body| ResponseBody::captured(body, capture, pending, disconnect));
            match is_held_back {
                true => Continue(State::LookingAhead(response)),
                false => Break(Ok(response)),
            }
        }
    }
}

impl<F, B> Unfinished for Run<F, B> {
    fn is_unfinished(&self) -> bool {
        match &self.state {
            State::Waiting(_) | State::HeldBack(_) => true,
            State::Finishing(body) => body.is_unfinished(),
            // A body that is there runs on by itself.
            State::LookingAhead(_) | State::Through => false,
        }
    }

    fn fail(self: Pin<&mut Self>, reason: FailReason) {
        match std::mem::replace(self.project().state, State::Through) {
            State::Waiting(pending) => pending.fail(reason),
            State::HeldBack(held) => response::wait_on(held.accept),
            State::Finishing(mut body) => body.fail(reason),
            State::LookingAhead(_) | State::Through => {}
        }
    }

    fn pending(self: Pin<&mut Self>) -> Option<&mut PendingWebhook> {
        match self.project().state {
            State::Waiting(pending) => Some(pending),
            _ => None,
        }
    }

    fn complete_if_whole(self: Pin<&mut Self>) {}
}

impl<F, B, E> Runnable for Run<F, B>
where
    F: Future<Output = Result<Response<B>, E>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Send + 'static,
    E: Send,
{
    fn poll_finish(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !matches!(self.state, State::Finishing(_)) {
            if !self.is_unfinished() {
                return Poll::Ready(());
            }
            let Ok(response) = ready!(self.as_mut().poll(cx)) else {
                return Poll::Ready(());
            };
            let mut body = Box::new(response.into_body());
            body.belongs_to_a_run();
            *self.as_mut().project().state = State::Finishing(body);
        }
        match self.project().state {
            State::Finishing(body) => body.poll_finish(cx),
            _ => Poll::Ready(()),
        }
    }
}

impl<F, B> fmt::Debug for ResponseFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Plain { .. } => "plain",
            Kind::Refused { .. } => "refused",
            Kind::Running { .. } => "running",
        };
        f.debug_tuple("ResponseFuture").field(&kind).finish()
    }
}
