use std::{
    future::{Future, poll_fn},
    mem,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::{Duration, SystemTime},
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
    io::AsyncReadExt,
    runtime::{self, Handle},
    task::{Unconstrained, unconstrained},
    time::timeout,
};
use tower::ServiceExt;

use super::{
    answer::{ReadBody, briefly},
    capped::{CappedSocket, Reception},
    error::ConnectError,
    guard::Guard,
    head::Head,
    places::Place,
    pool::{ConnectionCount, Idle},
    transcript::{Recorded, Transcript},
};
use crate::{delivery::Payload, error::BoxError, event::Outcome};

/// How many headers an answer may have if its connection is to be used again.
const MAX_HEADERS: usize = 64;

/// A connection to a receiver, for one attempt at a time. Dropping it closes it in any state.
///
/// It has no task of its own: an attempt drives it while waiting for it, and between two attempts
/// nobody does. What the receiver does in the meantime is noticed when the connection is next
/// polled.
pub(super) struct Connection {
    sender: SendRequest<Payload>,
    io: Io,
    heard: Reception,
    transcript: Transcript,
    /// Until it has answered for the first time.
    place: Option<Arc<Place>>,
    /// The runtime in which it was opened.
    runtime: runtime::Id,
    /// The last field, so dropped last: the socket is closed before it stops counting, and the
    /// pool's limit relies on that.
    _counted: ConnectionCount,
}

/// The part that reads and writes.
enum Io {
    Http(Box<http1::Connection<TokioIo<Stream>, Payload>>),
    /// HTTP has ended, and with it whatever waited for it. What has arrived since can be read.
    Ended(Option<Box<Stream>>),
}

type Stream = Recorded<TokioIo<MaybeHttpsStream<TokioIo<CappedSocket>>>>;

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
        let place = extras.remove();
        let transcript = Transcript::default();
        let stream = Recorded::new(TokioIo::new(stream), transcript.clone());
        let (sender, http) = Builder::new()
            .max_buf_size(Transcript::LIMIT)
            .max_headers(MAX_HEADERS)
            .ignore_invalid_headers_in_responses(true)
            .allow_spaces_after_header_name_in_responses(true)
            .allow_obsolete_multiline_headers_in_responses(true)
            .handshake(TokioIo::new(stream))
            .await?;
        Ok(Self {
            sender,
            io: Io::Http(Box::new(http)),
            heard,
            transcript,
            place,
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
        self.transcript.begin_anew();
        let response = self.sender.send_request(request());
        WithConnection::new(&mut self.io, response, false)
    }

    /// Reads the rest of an answer for a while, and sends what is left of the request. Returns
    /// whether the connection can take another request then.
    ///
    /// A receiver may answer before it has read the request, and its answer need not have an end.
    pub(super) async fn finish(&mut self, response: Response<Incoming>) -> bool {
        let body = ReadBody::new(response.into_body());
        let finishing = pin!(async {
            WithConnection::new(&mut self.io, body, true).await && self.is_free().await
        });
        briefly(finishing).await.unwrap_or(false)
    }

    /// The receiver has answered: nobody has to wait for that any more.
    pub(super) fn has_answered(&mut self) {
        if let Some(place) = self.place.take() {
            place.answered();
        }
    }

    /// Whether it can take another request, after the answer to the last one has been read.
    async fn is_free(&mut self) -> bool {
        // If it has ended in the meantime, the next sweep of the pool or the next attempt notices.
        if self.sender.is_ready() {
            return true;
        }
        poll_fn(|cx| match self.io.drive(cx) {
            Poll::Pending if !self.sender.is_ready() => Poll::Pending,
            _ => Poll::Ready(()),
        })
        .await;
        self.is_idle()
    }

    /// After an error of [`send`](Self::send): the outcome where the receiver has answered all the
    /// same.
    ///
    /// hyper refuses answers whose status is plain to see. And it stops reading when it cannot
    /// write, as when a receiver answers and closes before it has read the request; what has
    /// arrived before the reset is still there to be read.
    pub(super) async fn last_words(self) -> Option<Outcome> {
        // A local, so closed before the connection stops counting.
        let mut stream = self.io.into_stream()?;
        let mut buffer = [0; 1 << 10];
        loop {
            let head = |said: &[u8]| Head::read(said, SystemTime::now);
            match self.transcript.read(head) {
                Head::Complete(outcome) => {
                    if let Some(place) = self.place {
                        place.answered();
                    }
                    return Some(outcome);
                }
                Head::Malformed => return None,
                Head::Partial if self.transcript.is_full() => return None,
                Head::Partial => {}
            }
            match stream.read(&mut buffer).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return None,
            }
        }
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
        if let Self::Http(http) = self {
            let _ended = ready!(Pin::new(http).poll(cx));
            let ended = mem::replace(self, Self::Ended(None));
            *self = Self::Ended(ended.into_stream());
        }
        Poll::Ready(())
    }

    fn into_stream(self) -> Option<Box<Stream>> {
        match self {
            Self::Http(http) => Some(Box::new(http.into_parts().io.into_inner())),
            Self::Ended(stream) => stream,
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
