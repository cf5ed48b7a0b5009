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
    runtime::{self, Handle},
    task::{Unconstrained, unconstrained},
    time::timeout,
};
use tower::ServiceExt;

use super::{
    answer::{self, ReadAnswer},
    capped::{CappedSocket, Reception},
    error::ConnectError,
    guard::Guard,
    pool::{ConnectionCount, Idle},
};
use crate::{delivery::Payload, error::BoxError};

/// The limits of an answer's head: bytes, and number of headers.
const MAX_HEAD: usize = 16 << 10;
const MAX_HEADERS: usize = 64;

/// How long the rest of a request may take to be sent once it has been answered.
const SENDING: Duration = Duration::from_secs(1);

/// A connection to a receiver, for one attempt at a time. Dropping it closes it in any state.
///
/// It has no task of its own: an attempt drives it while waiting for it, and between two attempts
/// nobody does. What the receiver does in the meantime is noticed when the connection is next
/// polled.
pub(super) struct Connection {
    sender: SendRequest<Payload>,
    io: Io,
    heard: Reception,
    /// The runtime in which it was opened.
    runtime: runtime::Id,
    /// The last field, so dropped last: the socket is closed before it stops counting, and the
    /// pool's limit relies on that.
    _counted: ConnectionCount,
}

/// The part that reads and writes; `None` once it has ended.
struct Io(Option<Box<http1::Connection<MaybeHttpsStream<TokioIo<CappedSocket>>, Payload>>>);

impl Connection {
    /// Connects within this time, the TLS handshake included.
    pub(super) async fn open(
        connector: HttpsConnector<Guard>,
        endpoint: Uri,
        within: Duration,
        counted: ConnectionCount,
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
            runtime: Handle::current().id(),
            _counted: counted,
        })
    }

    /// Sends a request in origin form, with its `Host`. It is built where it is handed to hyper: it
    /// is large, and would otherwise be moved several times.
    ///
    /// The error [is canceled](hyper::Error::is_canceled) where the receiver has not seen a byte of
    /// the request.
    pub(super) fn send(
        &mut self,
        request: impl FnOnce() -> Request<Payload>,
    ) -> impl Future<Output = hyper::Result<Response<Incoming>>> {
        self.heard.begin_anew();
        let response = self.sender.send_request(request());
        WithConnection::new(&mut self.io, response, false)
    }

    /// Reads an answer to its end, or as far as [`answer::read`] goes.
    pub(super) fn read(
        &mut self,
        response: Response<Incoming>,
    ) -> impl Future<Output = <ReadAnswer<Incoming> as Future>::Output> {
        WithConnection::new(&mut self.io, answer::read(response), true)
    }

    /// Whether it can take another request, after the answer to the last one has been read.
    ///
    /// A receiver may answer before it has read the request. If it does not read the rest within
    /// [`SENDING`], the connection is not free.
    pub(super) async fn is_free(&mut self) -> bool {
        // If it has ended in the meantime, the next sweep of the pool or the next attempt notices.
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
}

impl Idle for Connection {
    /// Whether it can take another request at this moment. It is polled with a waker that does
    /// nothing, so it wakes no task afterwards.
    fn is_idle(&mut self) -> bool {
        let mut nobody = Context::from_waker(Waker::noop());
        self.io.drive(&mut nobody).is_pending() && self.sender.is_ready()
    }

    fn belongs_here(&self) -> bool {
        Handle::try_current().is_ok_and(|handle| handle.id() == self.runtime)
    }
}

impl Io {
    /// Reads and writes as much as it can. Ready once the connection has ended. Its error is
    /// dropped here: the attempt that uses the connection gets it, too.
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
    /// A future, and the connection that makes its progress.
    struct WithConnection<'c, F> {
        io: &'c mut Io,
        #[pin]
        future: Unconstrained<F>,
        may_be_ready: bool,
    }
}

impl<'c, F> WithConnection<'c, F> {
    /// A future that may be ready without the connection is polled once before it.
    fn new(io: &'c mut Io, future: F, may_be_ready: bool) -> Self {
        Self {
            io,
            future: unconstrained(future),
            may_be_ready,
        }
    }
}

/// Only the connection wakes the task; the future is polled with a waker that does nothing. No
/// wakeup is lost: whatever the future waits for is done by the connection, which is polled right
/// here, before the future. If the future woke the task as well, each step would cost a needless
/// poll.
impl<F: Future> Future for WithConnection<'_, F> {
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
