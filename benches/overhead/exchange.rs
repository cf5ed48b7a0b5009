//! Callers that cost next to nothing: requests are written as they are, and of answers no more is
//! read than it takes to find their end.

use std::{
    io::{Read, Write},
    net::TcpStream as BlockingStream,
    time::Instant,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A request's bytes. One that wishes for a webhook is the same for apps that have no layer.
pub(crate) fn request(path: &str, wish: bool) -> Vec<u8> {
    let query = match wish {
        true => "?webhookEndpoint=https%3A%2F%2Freceiver.example.com%2Fhook",
        false => "?limit=10&sort=name",
    };
    let secret = match wish {
        true => "x-webhook-secret: 0123456789abcdef0123456789abcdef\r\n",
        false => "",
    };
    format!(
        "POST {path}{query} HTTP/1.1\r\nhost: api.example.com\r\naccept: */*\r\n\
         user-agent: bench\r\ncontent-length: 0\r\n{secret}\r\n"
    )
    .into_bytes()
}

/// A connection on which every answer has the same length.
pub(crate) struct Caller {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Caller {
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a socket is open");
        Self {
            stream,
            answer: Vec::new(),
        }
    }

    /// Calls once, to see how long an answer is.
    pub(crate) async fn learn_length(&mut self, request: &[u8]) {
        self.stream.write_all(request).await.expect(OPEN);
        let mut answer = Vec::new();
        while !is_whole(&answer) {
            let read = self.stream.read_buf(&mut answer).await.expect(OPEN);
            assert_ne!(read, 0, "{OPEN}");
        }
        self.answer = answer;
    }

    pub(crate) async fn call(&mut self, request: &[u8]) {
        self.stream.write_all(request).await.expect(OPEN);
        self.stream.read_exact(&mut self.answer).await.expect(OPEN);
    }
}

const OPEN: &str = "the app keeps the connection open";

/// A connection whose thread waits for each answer.
pub(crate) struct BlockingCaller {
    stream: BlockingStream,
    answer: Vec<u8>,
}

pub(crate) fn blocking_caller(port: u16) -> BlockingCaller {
    let stream = BlockingStream::connect(("127.0.0.1", port)).expect("the app listens");
    stream.set_nodelay(true).expect("a socket is open");
    BlockingCaller {
        stream,
        answer: Vec::new(),
    }
}

impl BlockingCaller {
    /// Microseconds to the first byte of the answer, which is then read to its end.
    pub(crate) fn first_byte(&mut self, request: &[u8]) -> f64 {
        let mut buffer = [0; 16 << 10];
        self.answer.clear();
        let started = Instant::now();
        self.stream.write_all(request).expect(OPEN);
        let mut read = self.stream.read(&mut buffer).expect(OPEN);
        let took = started.elapsed();
        loop {
            assert_ne!(read, 0, "{OPEN}");
            self.answer.extend_from_slice(&buffer[..read]);
            if is_whole(&self.answer) {
                return took.as_secs_f64() * 1e6;
            }
            read = self.stream.read(&mut buffer).expect(OPEN);
        }
    }
}

/// Whether an answer is there to its end.
fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return false;
    };
    let head = String::from_utf8_lossy(&answer[..end]);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    match length.and_then(|length| length.parse::<usize>().ok()) {
        Some(length) => answer.len() >= end + 4 + length,
        None => answer.ends_with(b"\r\n0\r\n\r\n"),
    }
}
