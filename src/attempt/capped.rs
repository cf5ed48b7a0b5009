use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// How much a receiver may send after the last byte that we sent: what it says before its answer
/// has no limit in HTTP, and `100 Continue` can be said for ever.
const MAX_UNANSWERED: usize = 256 << 10;

/// A socket on which the other side cannot talk without end. It lies below TLS.
#[derive(Debug)]
pub(crate) struct CappedSocket {
    tcp: TcpStream,
    read_since_write: usize,
    _open: OpenSockets,
}

/// How many sockets are open: each holds a clone.
#[derive(Clone, Debug, Default)]
pub(super) struct OpenSockets(Arc<()>);

impl OpenSockets {
    /// Counts the clones that are not sockets as well; they are few and always the same.
    pub(super) fn count(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

impl CappedSocket {
    pub(super) fn new(tcp: TcpStream, open: OpenSockets) -> Self {
        Self {
            tcp,
            read_since_write: 0,
            _open: open,
        }
    }

    fn wrote(&mut self, written: &Poll<io::Result<usize>>) {
        if matches!(written, Poll::Ready(Ok(1..))) {
            self.read_since_write = 0;
        }
    }
}

impl AsyncRead for CappedSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read_since_write >= MAX_UNANSWERED {
            return Poll::Ready(Err(io::Error::other("the receiver sends without end")));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.tcp).poll_read(cx, buf))?;
        self.read_since_write += buf.filled().len() - before;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for CappedSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write(cx, buf);
        self.wrote(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs);
        self.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

impl Connection for CappedSocket {
    fn connected(&self) -> Connected {
        self.tcp.connected()
    }
}
