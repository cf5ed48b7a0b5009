//! One exchange in HTTP/2, written and read by hand: the frames that a caller gets, as they are.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::soon;

/// A frame of the stream of a response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RawFrame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) payload: Vec<u8>,
}

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const END_STREAM_AND_HEADERS: u8 = 5;

/// Sends a request without a body, and returns the frames of the answer up to its end.
pub(crate) async fn exchange(server: SocketAddr, method: &str, target: &str) -> Vec<RawFrame> {
    let mut socket = TcpStream::connect(server).await.unwrap();
    let mut request = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    put_frame(&mut request, SETTINGS, 0, 0, &[]);
    let block = header_block(method, &server.to_string(), target);
    put_frame(&mut request, HEADERS, END_STREAM_AND_HEADERS, 1, &block);
    socket.write_all(&request).await.unwrap();
    let mut frames = Vec::new();
    loop {
        let (stream, frame) = soon("a frame", read_frame(&mut socket)).await;
        if stream == 1 {
            let last = frame.kind == RST_STREAM || frame.flags & END_STREAM != 0;
            frames.push(frame);
            if last {
                return frames;
            }
        }
    }
}

fn put_frame(into: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    into.extend(&u32::try_from(payload.len()).unwrap().to_be_bytes()[1..]);
    into.extend([kind, flags]);
    into.extend(stream.to_be_bytes());
    into.extend(payload);
}

async fn read_frame(socket: &mut TcpStream) -> (u32, RawFrame) {
    let mut head = [0; 9];
    socket.read_exact(&mut head).await.unwrap();
    let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, l0, l1, l2]) as usize];
    socket.read_exact(&mut payload).await.unwrap();
    let frame = RawFrame {
        kind,
        flags,
        payload,
    };
    (u32::from_be_bytes([s0, s1, s2, s3]), frame)
}

/// RFC 7541: literals without indexing, whose names are in the static table.
fn header_block(method: &str, authority: &str, path: &str) -> Vec<u8> {
    let scheme_http = 0x86;
    let mut block = vec![scheme_http];
    for (name, value) in [(1, authority), (2, method), (4, path)] {
        let length = u8::try_from(value.len()).unwrap();
        assert!(length < 127, "longer needs another encoding");
        block.extend([name, length]);
        block.extend(value.as_bytes());
    }
    block
}
