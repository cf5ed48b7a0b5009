//! The caller's side: a connection that somebody has opened to the proxy.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::sleep,
};

use super::{heads::RequestHeads, interim::Interim};

/// How often a connection is looked at on which something waits to be read.
const LOOK: Duration = Duration::from_secs(1);

/// What is known of a connection while hyper has it.
pub(crate) struct Caller {
    socket: OwnedReadHalf,
    /// Counts what has moved either way.
    progress: AtomicU64,
    heads: Mutex<RequestHeads>,
    interim: Arc<Interim>,
}

/// The connection itself, for hyper.
pub(crate) struct CallerIo {
    caller: Arc<Caller>,
    write: OwnedWriteHalf,
}

impl Caller {
    pub(crate) fn new(socket: TcpStream) -> (Arc<Self>, CallerIo) {
        let (socket, write) = socket.into_split();
        let caller = Arc::new(Self {
            socket,
            progress: AtomicU64::new(0),
            heads: Mutex::new(RequestHeads::new()),
            interim: Arc::default(),
        });
        let io = CallerIo {
            caller: Arc::clone(&caller),
            write,
        };
        (caller, io)
    }

    /// What was read of the requests.
    pub(crate) fn heads(&self) -> MutexGuard<'_, RequestHeads> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is said on it before an answer.
    pub(super) fn interim(&self) -> &Arc<Interim> {
        &self.interim
    }

    /// Resolves when the caller has left. TCP does not tell that from only sending no more, until
    /// something is written: who has closed its side has left once nothing moves for `patience`.
    pub(crate) async fn left(&self, patience: Duration) {
        loop {
            match self
                .socket
                .ready(Interest::READABLE | Interest::ERROR)
                .await
            {
                Ok(ready) if ready.is_error() => return,
                Ok(ready) if ready.is_read_closed() => break,
                Ok(_) => sleep(LOOK).await,
                Err(_) => return,
            }
        }
        loop {
            let before = self.progress.load(Ordering::Relaxed);
            sleep(patience).await;
            if self.progress.load(Ordering::Relaxed) == before {
                return;
            }
        }
    }

    fn moved(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }
}

impl AsyncRead for CallerIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let caller = &self.caller;
        let before = buf.filled().len();
        loop {
            ready!(caller.socket.as_ref().poll_read_ready(cx))?;
            match caller.socket.try_read_buf(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(_) => break,
            }
        }
        caller.moved();
        caller.heads().read(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl CallerIo {
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let to = Pin::new(&mut self.write);
        if ready!(self.caller.interim.poll_ahead(cx, to))? {
            self.caller.moved();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for CallerIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_ahead(cx))?;
        let written = ready!(Pin::new(&mut self.write).poll_write(cx, buf));
        self.caller.moved();
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_ahead(cx))?;
        let written = ready!(Pin::new(&mut self.write).poll_write_vectored(cx, bufs));
        self.caller.moved();
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.write.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { caller, write } = &mut *self;
        if ready!(caller.interim.poll_flush(cx, Pin::new(write)))? {
            caller.moved();
        }
        Pin::new(write).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.write).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use hyper::{HeaderMap, StatusCode};
    use tokio::{io::AsyncWriteExt as _, net::TcpListener, time::timeout};

    use super::*;

    /// A service that says again and again that it is at work keeps a caller that only waits.
    #[tokio::test(start_paused = true)]
    async fn what_is_said_before_an_answer_is_progress() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (caller, mut io) = Caller::new(listener.accept().await.unwrap().0);
        client.shutdown().await.unwrap();
        let patience = Duration::from_secs(3);
        let turn = caller.interim().begin();
        let works = async {
            for _ in 0..20 {
                turn.say(StatusCode::PROCESSING, &HeaderMap::new());
                io.flush().await.unwrap();
                sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            () = caller.left(patience) => panic!("it waits"),
            () = works => {}
        }
        let left = timeout(Duration::from_secs(60), caller.left(patience)).await;
        assert!(left.is_ok(), "nothing moves any more");
    }
}
