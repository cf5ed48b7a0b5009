use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::heads::AnswerHead;

/// With or without TLS.
pub(crate) type Stream = TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>>;

/// A connection to the service, for hyper.
pub(crate) struct Link {
    stream: Stream,
    watch: Arc<Watch>,
}

/// What is known of an HTTP/1 connection while hyper has it.
pub(crate) struct Watch(Mutex<Answer>);

#[derive(Default)]
struct Answer {
    /// Nothing on HTTP/2.
    head: Option<AnswerHead>,
    begun: bool,
}

impl Link {
    pub(crate) fn new(stream: Stream) -> (Self, Arc<Watch>) {
        let watch = Arc::new(Watch(Mutex::default()));
        let link = Self {
            stream,
            watch: Arc::clone(&watch),
        };
        (link, watch)
    }
}

impl Watch {
    /// Another request is about to be sent.
    pub(crate) fn next_answer(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Answer {
            head: Some(AnswerHead::default()),
            begun: false,
        };
    }

    /// Whether anything has come since.
    pub(crate) fn has_answered(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).begun
    }

    fn read(&self, bytes: &[u8]) -> io::Result<()> {
        let mut answer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answer.begun |= !bytes.is_empty();
        let clean = answer.head.as_mut().is_none_or(|head| head.read(bytes));
        clean.then_some(()).ok_or_else(|| {
            let why = "a line of the answer is malformed that must not be skipped";
            io::Error::new(io::ErrorKind::InvalidData, why)
        })
    }
}

impl AsyncRead for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        Poll::Ready(self.watch.read(&buf.filled()[before..]))
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
