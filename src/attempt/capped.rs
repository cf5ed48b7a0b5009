use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::places::Place;

/// How many bytes a receiver may send in one attempt. HTTP does not limit what precedes the final
/// answer: `100 Continue` can be repeated for ever.
///
/// It is not enough to reset the count with each write: a receiver that reads slowly could then
/// send as much for each piece of the request.
const MAX_READ: usize = 256 << 10;

/// Up to this many bytes in several slices are joined before they are written: copying them costs
/// less than having the kernel process each slice.
const SMALL: usize = 4 << 10;

/// A socket that limits how much the other side can send in one attempt. It lies below TLS.
#[derive(Debug)]
pub(crate) struct CappedSocket {
    tcp: TcpStream,
    heard: Reception,
    place: Arc<Place>,
    /// The buffer in which small writes are joined, kept for the next one.
    together: Vec<u8>,
}

/// How many bytes were read from a socket since its attempt began. The socket and its connection
/// share it: the connection resets it for each attempt.
#[derive(Clone, Debug, Default)]
pub(super) struct Reception(Arc<AtomicUsize>);

impl Reception {
    pub(super) fn begin_anew(&self) {
        self.0.store(0, Ordering::Release);
    }
}

impl CappedSocket {
    pub(super) fn new(tcp: TcpStream, place: Place) -> Self {
        Self {
            tcp,
            heard: Reception::default(),
            place: Arc::new(place),
            together: Vec::new(),
        }
    }
}

impl AsyncRead for CappedSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.heard.0.load(Ordering::Acquire) >= MAX_READ {
            return Poll::Ready(Err(io::Error::other("the receiver sends without end")));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.tcp).poll_read(cx, buf))?;
        let read = buf.filled().len() - before;
        self.heard.0.fetch_add(read, Ordering::AcqRel);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for CappedSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { tcp, together, .. } = &mut *self;
        let tcp = Pin::new(tcp);
        if bufs.len() < 2 || bufs.iter().map(|buf| buf.len()).sum::<usize>() > SMALL {
            return tcp.poll_write_vectored(cx, bufs);
        }
        together.clear();
        for buf in bufs {
            together.extend_from_slice(buf);
        }
        tcp.poll_write(cx, together)
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

/// Passes its byte count and its place up through TLS.
impl Connection for CappedSocket {
    fn connected(&self) -> Connected {
        let place = Arc::clone(&self.place);
        Connected::new().extra(self.heard.clone()).extra(place)
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::attempt::places::Places;

    async fn pair() -> (CappedSocket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (far, _) = listener.accept().await.unwrap();
        let place = Arc::new(Places::new(1, 1)).take(far.local_addr().unwrap());
        (CappedSocket::new(near, place.unwrap()), far)
    }

    /// Sends without end, and returns the number of bytes that were read.
    async fn read_all(socket: &mut CappedSocket, far: &mut TcpStream) -> usize {
        let mut read = 0;
        let reading = async {
            let mut buffer = [0; 4096];
            while let Ok(more) = socket.read(&mut buffer).await {
                read += more;
            }
        };
        let talking = async { while far.write_all(&[b'x'; 4096]).await.is_ok() {} };
        tokio::select! {
            () = reading => {}
            () = talking => {}
        }
        read
    }

    #[tokio::test]
    async fn an_answer_has_an_end() {
        let (mut socket, mut far) = pair().await;
        socket.write_all(b"request").await.unwrap();
        socket.flush().await.unwrap();
        let read = read_all(&mut socket, &mut far).await;
        assert!((MAX_READ..MAX_READ + 4096).contains(&read), "{read}");
        assert!(socket.read(&mut [0]).await.is_err(), "and stays there");
    }

    #[tokio::test]
    async fn each_attempt_begins_anew() {
        let (mut socket, mut far) = pair().await;
        let said = vec![b'x'; MAX_READ - 1];
        let mut heard = said.clone();
        for _ in 0..3 {
            let both = tokio::join!(far.write_all(&said), socket.read_exact(&mut heard));
            assert!(matches!(both, (Ok(()), Ok(_))));
            socket.heard.begin_anew();
        }
    }

    #[tokio::test]
    async fn a_piece_of_a_request_does_not() {
        let (mut socket, mut far) = pair().await;
        for _ in 0..3 {
            read_all(&mut socket, &mut far).await;
            socket.write_all(b"piece").await.unwrap();
            socket.flush().await.unwrap();
            assert!(socket.read(&mut [0]).await.is_err());
        }
    }

    #[tokio::test]
    async fn pieces_arrive_whole_and_in_their_order() {
        let (mut socket, mut far) = pair().await;
        for size in [1, SMALL / 2 - 1, SMALL / 2, SMALL] {
            let pieces = [vec![b'a'; size], Vec::new(), vec![b'b'; size]];
            let slices = pieces.each_ref().map(|piece| IoSlice::new(piece));
            let written = socket.write_vectored(&slices).await.unwrap();
            assert_eq!(written, 2 * size);
            let mut read = vec![0; 2 * size];
            far.read_exact(&mut read).await.unwrap();
            assert_eq!(read, pieces.concat());
        }
    }
}
