use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::sync::lock;

/// What a receiver has said in one attempt, up to [`LIMIT`](Self::LIMIT) bytes. The connection and
/// its [`Recorded`] stream share it: the connection clears it for each attempt.
///
/// hyper keeps nothing of an answer that it refuses, or that comes with a reset.
#[derive(Clone, Debug, Default)]
pub(super) struct Transcript(Arc<Mutex<Vec<u8>>>);

impl Transcript {
    /// The largest head of an answer, in bytes.
    pub(super) const LIMIT: usize = 16 << 10;

    pub(super) fn begin_anew(&self) {
        lock(&self.0).clear();
    }

    pub(super) fn is_full(&self) -> bool {
        lock(&self.0).len() >= Self::LIMIT
    }

    /// Calls this function with what was said so far.
    pub(super) fn read<T>(&self, reader: impl FnOnce(&[u8]) -> T) -> T {
        reader(&lock(&self.0))
    }

    fn add(&self, said: &[u8]) {
        let mut all = lock(&self.0);
        let room = Self::LIMIT.saturating_sub(all.len());
        all.extend_from_slice(&said[..said.len().min(room)]);
    }
}

/// A stream that writes down what is read from it. It lies above TLS.
#[derive(Debug)]
pub(super) struct Recorded<S> {
    stream: S,
    transcript: Transcript,
}

impl<S> Recorded<S> {
    pub(super) fn new(stream: S, transcript: Transcript) -> Self {
        Self { stream, transcript }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Recorded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.transcript.add(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Recorded<S> {
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn it_has_what_was_read_in_this_attempt_up_to_a_limit() {
        let transcript = Transcript::default();
        let (near, mut far) = tokio::io::duplex(64);
        let mut near = Recorded::new(near, transcript.clone());
        let said = |transcript: &Transcript| transcript.read(|said| said.to_vec());

        far.write_all(b"first").await.unwrap();
        near.read_exact(&mut [0; 3]).await.unwrap();
        assert_eq!(said(&transcript), b"fir");
        transcript.begin_anew();
        near.read_exact(&mut [0; 2]).await.unwrap();
        assert_eq!(said(&transcript), b"st");

        for _ in 0..Transcript::LIMIT / 10 {
            far.write_all(b"0123456789").await.unwrap();
            near.read_exact(&mut [0; 10]).await.unwrap();
        }
        far.write_all(b"0123456789").await.unwrap();
        near.read_exact(&mut [0; 10]).await.unwrap();
        assert!(transcript.is_full());
        assert_eq!(said(&transcript).len(), Transcript::LIMIT);
    }
}
