//! Callers and services that say exactly these bytes.

use std::net::SocketAddr;

use axum::{Router, body::Bytes, routing::any};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::process::within;

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";

pub(crate) fn echo() -> Router {
    Router::new().fallback(any(|body: Bytes| async { body }))
}

/// A service whose every connection the test answers by hand.
pub(crate) struct RawService {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
}

/// A connection, from whichever end.
pub(crate) struct Raw(TcpStream);

impl RawService {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    pub(crate) async fn accept(&self) -> Raw {
        Raw(within(self.listener.accept()).await.unwrap().0)
    }

    /// Answers each call with these bytes and the end of the connection, and says what it asked.
    pub(crate) async fn answer(&self, answer: &str) -> String {
        let mut raw = self.accept().await;
        let head = raw.head().await;
        raw.write(answer).await;
        head
    }
}

impl From<TcpStream> for Raw {
    fn from(stream: TcpStream) -> Self {
        Self(stream)
    }
}

impl Raw {
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        Self(TcpStream::connect(to).await.unwrap())
    }

    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Up to an empty line.
    pub(crate) async fn head(&mut self) -> String {
        self.until("\r\n\r\n").await
    }

    pub(crate) async fn until(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            match within(self.0.read_u8()).await {
                Ok(byte) => read.push(byte),
                Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&read)),
            }
        }
        String::from_utf8(read).unwrap()
    }

    pub(crate) async fn exactly(&mut self, length: usize) -> Vec<u8> {
        let mut read = vec![0; length];
        within(self.0.read_exact(&mut read)).await.unwrap();
        read
    }

    /// Up to the end of the connection, however it ends.
    pub(crate) async fn rest(&mut self) -> String {
        let mut read = Vec::new();
        let _ = within(self.0.read_to_end(&mut read)).await;
        String::from_utf8(read).unwrap()
    }

    /// Sends no more, but goes on to read.
    pub(crate) async fn half_close(&mut self) {
        self.0.shutdown().await.unwrap();
    }

    pub(crate) fn into_inner(self) -> TcpStream {
        self.0
    }
}

/// What is answered to these bytes, up to the end of the connection.
pub(crate) async fn raw_call(to: SocketAddr, request: impl AsRef<[u8]>) -> String {
    let mut raw = Raw::connect(to).await;
    raw.write(request).await;
    raw.rest().await
}

pub(crate) fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or(answer)
}

/// The value of a header, which is there once at most.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let named = |line: &&str| {
        let (start, _) = line.split_once(':').unwrap_or_default();
        start.eq_ignore_ascii_case(name)
    };
    let head = head.split("\r\n\r\n").next().unwrap();
    let mut lines = head.lines().filter(named);
    let value = lines.next().map(|line| line[name.len() + 1..].trim());
    assert_eq!(lines.next(), None, "{head}");
    value
}
