use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;

use crate::{
    BodyType, Payload, ResponseBody, Wrapped,
    capture::{self, Capture, Start},
    config::Config,
    detach::{self, Detach, Detached, Finish},
    dispatch::Accepting,
    event::FailReason,
    problem::Problem,
    ticket::Ticket,
};

pin_project! {
    /// The future of a call of [`Webhook`](crate::Webhook).
    ///
    /// For a call that asked for a webhook, the wrapped future runs on when this is dropped.
    pub struct ResponseFuture<F, T = Wrapped>
    where
        F: Future,
    {
        #[pin]
        kind: Kind<F, T>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<F, T>
    where
        F: Future,
    {
        Plain { #[pin] future: F },
        Refused { problem: Problem, body_type: T },
        Taken { taken: Detached<Taken<F>>, body_type: T },
    }
}

pin_project! {
    /// A call that asked for a webhook, until its response has a head.
    struct Taken<F>
    where
        F: Future,
    {
        #[pin]
        future: F,
        state: State<F::Output>,
    }
}

enum State<R> {
    Waiting {
        ticket: Ticket,
    },
    /// The response is complete with its head, which waits for the outbox.
    Holding(Box<Holding<R>>),
    Through,
}

struct Holding<R> {
    response: R,
    accepting: Accepting,
}

impl<F: Future, T> ResponseFuture<F, T> {
    pub(crate) fn plain(future: F) -> Self {
        Self {
            kind: Kind::Plain { future },
        }
    }

    pub(crate) fn refused(problem: Problem, body_type: T) -> Self {
        Self {
            kind: Kind::Refused { problem, body_type },
        }
    }
}

impl<F, B, E, T> ResponseFuture<F, T>
where
    F: Future<Output = Result<Response<B>, E>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    E: Send,
{
    pub(crate) fn taken(future: F, ticket: Ticket, body_type: T) -> Self {
        let disconnect = ticket.config().disconnect;
        let taken = Taken {
            future,
            state: State::Waiting { ticket },
        };
        Self {
            kind: Kind::Taken {
                taken: Detached::new(taken, disconnect),
                body_type,
            },
        }
    }
}

impl<F, B, E, T> Future for ResponseFuture<F, T>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes> + Send + 'static,
    T: BodyType<B>,
{
    type Output = Result<Response<T::Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            KindProj::Plain { future } => future.poll(cx).map_ok(T::pass),
            KindProj::Refused { problem, body_type } => {
                Poll::Ready(Ok(body_type.give(problem.response())))
            }
            KindProj::Taken { taken, body_type } => taken
                .poll_with(|taken| taken.poll(cx))
                .map_ok(|response| body_type.give(response)),
        }
    }
}

type Answer<B, E> = Result<Response<ResponseBody<B>>, E>;

impl<F, B, E> Taken<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes> + Send + 'static,
{
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer<B, E>> {
        let this = self.project();
        if let State::Waiting { .. } = this.state {
            let answer = ready!(this.future.poll(cx));
            return Self::answered(this.state, answer, cx);
        }
        if let State::Holding(holding) = this.state {
            ready!(holding.accepting.poll_unpin(cx));
        }
        match std::mem::replace(this.state, State::Through) {
            State::Holding(holding) => {
                let plain = |response: Response<B>| response.map(ResponseBody::plain);
                Poll::Ready(holding.response.map(plain))
            }
            _ => panic!("polled after it was ready"),
        }
    }

    /// What goes on at once, unless the answer is held back.
    fn answered(
        state: &mut State<F::Output>,
        answer: F::Output,
        cx: &mut Context<'_>,
    ) -> Poll<Answer<B, E>> {
        let State::Waiting { mut ticket } = std::mem::replace(state, State::Through) else {
            unreachable!("it was waiting for this answer");
        };
        let plain = |response: Response<B>| Poll::Ready(Ok(response.map(ResponseBody::plain)));
        let response = match answer {
            Ok(response) => response,
            Err(error) => {
                ticket.fail(FailReason::ServiceFailed);
                return Poll::Ready(Err(error));
            }
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            ticket.fail(FailReason::Upgraded);
            return plain(response);
        }
        if !(ticket.config().forwards)(response.status()) {
            ticket.fail(FailReason::StatusNotForwarded);
            return plain(response);
        }
        ticket.note_head(&response);
        let Config {
            ref dispatcher,
            disconnect,
            ..
        } = *ticket.config();
        let limit = dispatcher.body_limit();
        match capture::start(ticket.asked_for_head(), &response) {
            Start::Empty => {
                let Some(accepting) = ticket.complete(Payload::default(), cx) else {
                    return plain(response);
                };
                let response = Ok(response);
                *state = State::Holding(Box::new(Holding {
                    response,
                    accepting,
                }));
                Poll::Pending
            }
            Start::Watch { declared } if declared.is_some_and(|len| len > limit as u64) => {
                ticket.fail(FailReason::BodyTooLarge);
                plain(response)
            }
            Start::Watch { declared } => {
                let capture = Capture::new(declared, limit);
                Poll::Ready(Ok(response.map(|body| {
                    ResponseBody::watched(body, capture, ticket, disconnect)
                })))
            }
        }
    }
}

impl<F: Future> Detach for Taken<F> {
    fn is_unfinished(&self) -> bool {
        !matches!(self.state, State::Through)
    }

    fn fail(self: Pin<&mut Self>, reason: FailReason) {
        match std::mem::replace(self.project().state, State::Through) {
            State::Waiting { ticket } => ticket.fail(reason),
            State::Holding(holding) => detach::wait_on(holding.accepting),
            State::Through => {}
        }
    }
}

impl<F, B, E> Finish for Taken<F>
where
    F: Future<Output = Result<Response<B>, E>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    E: Send,
{
    async fn finish(mut alone: Detached<Self>) {
        let answer = std::future::poll_fn(|cx| alone.poll_with(|taken| taken.poll(cx))).await;
        if let Ok(response) = answer {
            response.into_body().finish().await;
        }
    }
}

impl<F: Future, T> fmt::Debug for ResponseFuture<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Plain { .. } => "plain",
            Kind::Refused { .. } => "refused",
            Kind::Taken { .. } => "taken",
        };
        f.debug_tuple("ResponseFuture").field(&kind).finish()
    }
}
