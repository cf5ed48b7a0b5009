use std::{
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    sync::mpsc::UnboundedSender,
};

use super::receiver::{Seen, Stage};

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// One connection of a receiver.
pub(crate) struct Conn {
    pub(crate) tcp: TcpStream,
    pub(super) stages: UnboundedSender<Stage>,
    pub(super) seen: Arc<Seen>,
}

/// Tells the test where a script is.
pub(crate) struct Here(UnboundedSender<Stage>);

impl Here {
    pub(crate) fn here(&self) {
        let _ = self.0.send(Stage::Reached);
    }
}

impl Conn {
    /// Tells the test that it is here.
    pub(crate) fn here(&self) {
        let _ = self.stages.send(Stage::Reached);
    }

    /// Has the kernel send what is said as it is said, which a socket as it comes does not do. A reset
    /// takes back what was not sent: this is for scripts that reset a connection, or close it with
    /// something unread.
    pub(crate) fn send_at_once(&self) {
        self.tcp.set_nodelay(true).unwrap();
    }

    /// The same while something else has the socket.
    pub(crate) fn split(&mut self) -> (Here, &mut TcpStream) {
        (Here(self.stages.clone()), &mut self.tcp)
    }

    /// Reads one request; `None` when the client has closed.
    pub(crate) async fn request(&mut self) -> Option<Heard> {
        let mut bytes = Vec::new();
        let head = loop {
            if let Some(end) = find(&bytes, b"\r\n\r\n") {
                break String::from_utf8(bytes.drain(..end + 4).collect()).unwrap();
            }
            self.read_into(&mut bytes).await.ok()?;
        };
        let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        while bytes.len() < length {
            self.read_into(&mut bytes).await.ok()?;
        }
        let heard = Heard { head, body: bytes };
        self.seen.requests.lock().unwrap().push(heard.clone());
        Some(heard)
    }

    async fn read_into(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        let read = self.tcp.read_buf(bytes).await?;
        self.seen.received.fetch_add(read, Ordering::SeqCst);
        match read {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// False once the client has closed.
    pub(crate) async fn say(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let mut bytes = bytes.as_ref();
        while !bytes.is_empty() {
            match self.tcp.write(bytes).await {
                Ok(written) => {
                    self.seen.sent.fetch_add(written, Ordering::SeqCst);
                    bytes = &bytes[written..];
                }
                Err(_) => return false,
            }
        }
        true
    }

    /// Says it again and again until the client has closed.
    pub(crate) async fn say_for_ever(&mut self, bytes: impl AsRef<[u8]>) {
        let many = bytes.as_ref().repeat(1 + 4096 / bytes.as_ref().len());
        while self.say(&many).await {}
    }

    /// Reads until the client has closed.
    pub(crate) async fn closed(&mut self) {
        let mut bytes = Vec::new();
        while self.read_into(&mut bytes).await.is_ok() {
            bytes.clear();
        }
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(self) {
        self.tcp.set_zero_linger().unwrap();
    }
}

/// For TLS over it.
impl AsyncRead for Conn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.tcp).poll_read(cx, buf))?;
        let read = buf.filled().len() - before;
        self.seen.received.fetch_add(read, Ordering::SeqCst);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Conn {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.tcp).poll_write(cx, buf))?;
        self.seen.sent.fetch_add(written, Ordering::SeqCst);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.seen.over.fetch_add(1, Ordering::SeqCst);
        let _ = self.stages.send(Stage::Over);
    }
}

/// A header's value in a request's head.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
