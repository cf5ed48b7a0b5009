use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::{Extensions, Request, Response, Uri};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, Builder, SendRequest},
};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::{client::legacy::connect::Connection as _, rt::TokioIo};
use pin_project_lite::pin_project;
use tokio::{
    task::{Unconstrained, unconstrained},
    time::timeout,
};
use tower::ServiceExt;

use super::{
    answer::{self, Reading},
    capped::{CappedSocket, Heard},
    error::ConnectError,
    guard::Guard,
    pool::Counted,
};
use crate::{BoxError, Payload};

/// The head of an answer: bytes, and headers.
const MAX_HEAD: usize = 16 << 10;
const MAX_HEADERS: usize = 64;

/// How long what is left of a request may take to be sent once it has been answered.
const SENDING: Duration = Duration::from_secs(1);

/// A connection to a receiver, for one attempt at a time. Dropped, it is closed, whatever it does.
///
/// It has no task of its own: an attempt moves it on while it waits for it, and between two
/// attempts nobody does. What a receiver does meanwhile is seen by whoever looks next.
pub(super) struct Connection {
    sender: SendRequest<Payload>,
    io: Io,
    heard: Heard,
    /// Last: the socket is closed when it is counted no more.
    _counted: Counted,
}

/// What reads and writes; `None` once it has come to its end.
struct Io(Option<Box<http1::Connection<MaybeHttpsStream<TokioIo<CappedSocket>>, Payload>>>);

impl Connection {
    /// Connects, the TLS handshake included, within that time.
    pub(super) async fn open(
        connector: HttpsConnector<Guard>,
        endpoint: Uri,
        within: Duration,
        counted: Counted,
    ) -> Result<Self, BoxError> {
        let stream = timeout(within, connector.oneshot(endpoint))
            .await
            .map_err(|_elapsed| ConnectError::TimedOut)??;
        let mut extras = Extensions::new();
        stream.connected().get_extras(&mut extras);
        let heard = extras.remove().unwrap_or_default();
        let (sender, connection) = Builder::new()
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .handshake(stream)
            .await?;
        let io = Io(Some(Box::new(connection)));
        Ok(Self {
            sender,
            io,
            heard,
            _counted: counted,
        })
    }

    /// Sends a request in origin form, with its `Host`. It is made where it is handed to hyper: it is
    /// large, and would be moved from hand to hand.
    ///
    /// The error says that it was [canceled](hyper::Error::is_canceled) where the receiver has not
    /// seen a byte of it.
    pub(super) fn send(
        &mut self,
        request: impl FnOnce() -> Request<Payload>,
    ) -> impl Future<Output = hyper::Result<Response<Incoming>>> {
        self.heard.begin_anew();
        let response = self.sender.send_request(request());
        Driven::new(&mut self.io, response, false)
    }

    /// Reads an answer to its end, or as far as it is worth it.
    pub(super) fn read(
        &mut self,
        response: Response<Incoming>,
    ) -> impl Future<Output = <Reading<Incoming> as Future>::Output> {
        Driven::new(&mut self.io, answer::read(response), true)
    }

    /// Whether it can take another request, once the answer to the last one was read.
    ///
    /// A receiver may answer before it has read the request: one that does not read the rest soon
    /// is not waited for.
    pub(super) async fn is_free(&mut self) -> bool {
        // A connection that has come to its end meanwhile is not kept for long.
        if self.sender.is_ready() {
            return true;
        }
        let ready = poll_fn(|cx| match self.io.drive(cx) {
            Poll::Pending if !self.sender.is_ready() => Poll::Pending,
            _ => Poll::Ready(()),
        });
        let waited = Box::pin(timeout(SENDING, ready)).await;
        waited.is_ok() && self.is_idle()
    }

    /// Whether it can take another request at this moment. Nobody is woken by it any more.
    pub(super) fn is_idle(&mut self) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        self.io.drive(&mut nobody).is_pending() && self.sender.is_ready()
    }
}

impl Io {
    /// Reads and writes what can be. Ready once it has come to its end; what it ends with, the
    /// attempt that uses it hears as well.
    fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(connection) = &mut self.0
            && Pin::new(connection).poll(cx).is_ready()
        {
            self.0 = None;
        }
        match self.0 {
            Some(_) => Poll::Pending,
            None => Poll::Ready(()),
        }
    }
}

pin_project! {
    /// A future and the connection that it waits for.
    struct Driven<'c, F> {
        io: &'c mut Io,
        #[pin]
        future: Unconstrained<F>,
        may_be_ready: bool,
    }
}

impl<'c, F> Driven<'c, F> {
    /// Of a future that may be ready by itself, it is seen first whether it is.
    fn new(io: &'c mut Io, future: F, may_be_ready: bool) -> Self {
        Self {
            io,
            future: unconstrained(future),
            may_be_ready,
        }
    }
}

/// Whatever the future waits for is done by the connection, and that is polled right here: it is
/// the connection that wakes the task. Woken by the future as well, the task would be polled once
/// more for each step, for nothing.
impl<F: Future> Future for Driven<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let mut nobody = Context::from_waker(Waker::noop());
        if *this.may_be_ready {
            let polled = this.future.as_mut().poll(&mut nobody);
            if polled.is_ready() {
                return polled;
            }
        }
        let _ended = this.io.drive(cx);
        this.future.poll(&mut nobody)
    }
}
