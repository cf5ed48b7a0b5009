//! What hyper does not tell of the heads that it has read.

use std::collections::VecDeque;

use memchr::memchr;

/// Longer lines are cut: none of those that count here is.
const LINE: usize = 8 << 10;

/// Follows the requests on an HTTP/1 connection: one with a length beside chunks may be two
/// requests to somebody else (RFC 9112, 6.1), and hyper takes the length away in silence.
pub(crate) struct RequestHeads {
    at: At,
    line: Line,
    framing: Framing,
    /// For each request that hyper has not yet handed over, oldest first.
    ambiguous: VecDeque<bool>,
}

enum At {
    RequestLine,
    Head,
    Body(u64),
    ChunkSize,
    ChunkData(u64),
    Trailers,
    /// HTTP/2, which has lengths of its own.
    Elsewhere,
}

#[derive(Default)]
struct Framing {
    length: Option<u64>,
    chunked: bool,
}

impl RequestHeads {
    pub(crate) fn new() -> Self {
        Self {
            at: At::RequestLine,
            line: Line::default(),
            framing: Framing::default(),
            ambiguous: VecDeque::new(),
        }
    }

    /// Whether the next request has a length beside chunks. One that was missed counts as such.
    pub(crate) fn next_is_ambiguous(&mut self) -> bool {
        self.ambiguous.pop_front().unwrap_or(true)
    }

    pub(crate) fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match &mut self.at {
                At::Elsewhere => return,
                At::Body(left) => {
                    if skip(&mut bytes, left) {
                        self.at = At::RequestLine;
                    }
                }
                At::ChunkData(left) => {
                    if skip(&mut bytes, left) {
                        self.at = At::ChunkSize;
                    }
                }
                _ => {
                    if self.line.read(&mut bytes) {
                        self.end_of_line();
                    }
                }
            }
        }
    }

    fn end_of_line(&mut self) {
        let line = self.line.take();
        match self.at {
            // Empty lines before a request do not count (RFC 9112, 2.2).
            At::RequestLine if line.is_empty() => {}
            At::RequestLine if line == b"PRI * HTTP/2.0" => self.at = At::Elsewhere,
            At::RequestLine => self.at = At::Head,
            At::Head if line.is_empty() => self.end_of_head(),
            At::Head => self.framing.header(&line),
            At::ChunkSize => {
                self.at = match chunk_size(&line) {
                    0 => At::Trailers,
                    size => At::ChunkData(size.saturating_add(2)),
                }
            }
            At::Trailers if line.is_empty() => self.at = At::RequestLine,
            At::Trailers | At::Body(_) | At::ChunkData(_) | At::Elsewhere => {}
        }
    }

    fn end_of_head(&mut self) {
        let Framing { length, chunked } = std::mem::take(&mut self.framing);
        self.ambiguous.push_back(chunked && length.is_some());
        self.at = match length {
            _ if chunked => At::ChunkSize,
            None | Some(0) => At::RequestLine,
            Some(length) => At::Body(length),
        };
    }
}

impl Framing {
    /// What is malformed hyper refuses, and ends the connection.
    fn header(&mut self, line: &[u8]) {
        let Some(colon) = memchr(b':', line) else {
            return;
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.chunked = true;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let length = str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse().ok());
            self.length = Some(length.unwrap_or(0));
        }
    }
}

/// Follows the head of one answer of a service. hyper skips the lines in it that are malformed,
/// so that odd ones do no harm; these it must not skip.
#[derive(Default)]
pub(crate) struct AnswerHead {
    line: Line,
    lines: usize,
    interim: bool,
    in_framing: bool,
    complete: bool,
}

/// They say where a body ends or how it is to be read.
const FRAMING: [&[u8]; 5] = [
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"transfer-encoding",
];

impl AnswerHead {
    /// False as soon as a line that must not be skipped is malformed.
    pub(crate) fn read(&mut self, mut bytes: &[u8]) -> bool {
        while !self.complete && !bytes.is_empty() {
            if self.line.read(&mut bytes) && !self.end_of_line() {
                return false;
            }
        }
        true
    }

    fn end_of_line(&mut self) -> bool {
        let line = self.line.take();
        match line.first() {
            None if self.lines > 0 => {
                self.complete = !self.interim;
                self.lines = 0;
                return true;
            }
            None => return true,
            Some(_) if self.lines == 0 => {
                let status = line.splitn(2, |byte| *byte == b' ').nth(1);
                let status = status.unwrap_or_default();
                self.interim = status.starts_with(b"1") && !status.starts_with(b"101");
            }
            // The line before goes on (RFC 9112, 5.2).
            Some(b' ' | b'\t') if self.lines > 1 => {
                self.lines += 1;
                return !self.in_framing || is_clean(&line);
            }
            Some(_) => {
                let colon = memchr(b':', &line);
                let (name, value) = line.split_at(colon.unwrap_or(line.len()));
                let letter = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
                let letters: Vec<u8> = name.iter().copied().filter(letter).collect();
                let letters = letters.to_ascii_lowercase();
                self.in_framing = FRAMING.iter().any(|name| match colon {
                    Some(_) => letters == *name,
                    None => letters.starts_with(name),
                });
                let well_named = colon.is_some() && name.trim_ascii_end().len() == letters.len();
                if self.in_framing && !(well_named && is_clean(value)) {
                    return false;
                }
            }
        }
        self.lines += 1;
        true
    }
}

fn is_clean(value: &[u8]) -> bool {
    let control = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
    !value.iter().any(control)
}

/// A line that may come in parts.
#[derive(Default)]
struct Line(Vec<u8>);

impl Line {
    /// Moves what belongs to the line out of `bytes`; true at its end.
    fn read(&mut self, bytes: &mut &[u8]) -> bool {
        let end = memchr(b'\n', bytes);
        let (part, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        let room = LINE.saturating_sub(self.0.len()).min(part.len());
        self.0.extend_from_slice(&part[..room]);
        *bytes = rest.get(1..).unwrap_or_default();
        end.is_some()
    }

    fn take(&mut self) -> Vec<u8> {
        let mut line = std::mem::take(&mut self.0);
        line.pop_if(|last| *last == b'\r');
        line
    }
}

fn skip(bytes: &mut &[u8], left: &mut u64) -> bool {
    let here = usize::try_from(*left)
        .unwrap_or(usize::MAX)
        .min(bytes.len());
    *bytes = &bytes[here..];
    *left -= here as u64;
    *left == 0
}

fn chunk_size(line: &[u8]) -> u64 {
    let digits = line.iter().map_while(|byte| char::from(*byte).to_digit(16));
    digits.fold(0, |size, digit| {
        size.saturating_mul(16).saturating_add(digit.into())
    })
}
