use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, Response, StatusCode,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};
use http_body::Body;

use crate::{delivery::Payload, event::FailReason};

/// Collects a response's body frame by frame and says when it is complete. It touches no body and
/// knows no clock: what it is told is all it knows.
#[derive(Debug)]
pub(crate) struct Capture {
    declared: Option<u64>,
    seen: u64,
    limit: usize,
    buffer: Buffer,
}

#[derive(Debug)]
enum Buffer {
    Nothing,
    /// The first frame of a body; most bodies have no other.
    First(Bytes),
    Parts(Box<Parts>),
}

#[derive(Debug, Default)]
struct Parts {
    segments: Vec<Bytes>,
    /// Small frames, copied together: each would pin the buffer that it is a slice of.
    small: BytesMut,
}

/// Where a body stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// More may come.
    Open,
    /// The payload has the length that was declared; trailers may still come.
    Whole,
    /// This was all.
    Complete,
    /// It will never be complete, or must not be kept.
    Failed(FailReason),
}

/// A smaller frame is copied: copying it costs no more than keeping it.
const SMALL: usize = 4 << 10;
/// Small frames are copied into chunks of about this size, so that growing one copies little.
const CHUNK: usize = 32 << 10;

impl Capture {
    pub(crate) fn new(declared: Option<u64>, limit: usize) -> Self {
        Self {
            declared,
            seen: 0,
            limit,
            buffer: Buffer::Nothing,
        }
    }

    /// A frame of data; `last` when the body says so itself.
    pub(crate) fn data(&mut self, data: &Bytes, last: bool) -> Progress {
        self.seen += data.len() as u64;
        if self.seen > self.limit as u64 {
            return Progress::Failed(FailReason::BodyTooLarge);
        }
        let progress = match self.declared {
            Some(declared) if self.seen > declared => Progress::Failed(FailReason::LengthMismatch),
            _ if last => self.end(),
            Some(declared) if self.seen == declared => Progress::Whole,
            _ => Progress::Open,
        };
        self.keep(data);
        progress
    }

    /// The end of the body: no frame any more, or the trailers.
    pub(crate) fn end(&self) -> Progress {
        match self.declared {
            Some(declared) if self.seen != declared => Progress::Failed(FailReason::LengthMismatch),
            _ => Progress::Complete,
        }
    }

    /// Whether the payload has the length that was declared.
    pub(crate) fn is_whole(&self) -> bool {
        self.declared == Some(self.seen)
    }

    /// The bytes so far.
    pub(crate) fn len(&self) -> usize {
        // No more than the limit is kept.
        usize::try_from(self.seen).unwrap_or(usize::MAX)
    }

    /// What was collected.
    pub(crate) fn into_payload(self) -> Payload {
        match self.buffer {
            Buffer::Nothing => Payload::default(),
            Buffer::First(first) => first.into(),
            Buffer::Parts(mut parts) => {
                parts.close_small();
                parts.segments.into()
            }
        }
    }

    fn keep(&mut self, data: &Bytes) {
        let mut parts = match std::mem::replace(&mut self.buffer, Buffer::Nothing) {
            Buffer::Nothing => {
                self.buffer = Buffer::First(match data.len() < SMALL {
                    true => Bytes::copy_from_slice(data),
                    false => data.clone(),
                });
                return;
            }
            Buffer::First(first) => {
                let mut parts = Box::<Parts>::default();
                parts.add(&first);
                parts
            }
            Buffer::Parts(parts) => parts,
        };
        parts.add(data);
        self.buffer = Buffer::Parts(parts);
    }
}

impl Parts {
    fn add(&mut self, data: &Bytes) {
        if data.len() < SMALL {
            self.small.extend_from_slice(data);
            if self.small.len() >= CHUNK {
                self.close_small();
            }
        } else {
            self.close_small();
            self.segments.push(data.clone());
        }
    }

    fn close_small(&mut self) {
        if !self.small.is_empty() {
            self.segments.push(self.small.split().freeze());
        }
    }
}

/// How a response's body begins.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BodyStart {
    /// There is no body, or an empty one.
    Empty,
    /// A body is to be watched; this is the length that it declares.
    Watch { declared: Option<u64> },
}

pub(crate) fn start<B: Body>(asked_for_head: bool, response: &Response<B>) -> BodyStart {
    let never_a_body = asked_for_head
        || matches!(
            response.status(),
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
    if never_a_body || response.body().is_end_stream() {
        return BodyStart::Empty;
    }
    let exact = response.body().size_hint().exact();
    BodyStart::Watch {
        declared: exact.or_else(|| content_length(response.headers())),
    }
}

/// The length that the head declares, unless something in it overrides that (RFC 9112, 6.3) or it is
/// none.
fn content_length(headers: &HeaderMap) -> Option<u64> {
    let mut declared = None;
    // To look it up would be to hash its name.
    for (name, value) in headers {
        if *name == TRANSFER_ENCODING {
            return None;
        }
        if *name == CONTENT_LENGTH {
            // The same length may be there again, in a line of its own or after a comma.
            for length in value.to_str().ok()?.split(',').map(str::trim) {
                let is_number = length.bytes().all(|byte| byte.is_ascii_digit());
                let length = length.parse().ok().filter(|_| is_number)?;
                if declared.is_some_and(|before| before != length) {
                    return None;
                }
                declared = Some(length);
            }
        }
    }
    declared
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn bytes(len: usize) -> Bytes {
        vec![7; len].into()
    }

    #[test]
    fn a_declared_length_decides() {
        let mut capture = Capture::new(Some(10), MIB);
        assert_eq!(capture.data(&bytes(4), false), Progress::Open);
        assert_eq!(capture.data(&bytes(6), false), Progress::Whole);
        assert_eq!(capture.end(), Progress::Complete);
        assert_eq!(capture.into_payload().len(), 10);
    }

    #[test]
    fn another_length_than_declared_fails() {
        let mut long = Capture::new(Some(10), MIB);
        let mismatch = Progress::Failed(FailReason::LengthMismatch);
        assert_eq!(long.data(&bytes(11), false), mismatch);
        let mut short = Capture::new(Some(10), MIB);
        assert_eq!(short.data(&bytes(9), true), mismatch);
        assert_eq!(short.end(), mismatch);
    }

    #[test]
    fn without_a_declared_length_the_body_decides() {
        let mut told = Capture::new(None, MIB);
        assert_eq!(told.data(&bytes(1), true), Progress::Complete);
        let mut ended = Capture::new(None, MIB);
        assert_eq!(ended.data(&bytes(1), false), Progress::Open);
        assert_eq!(ended.end(), Progress::Complete);
    }

    #[test]
    fn the_limit_is_inclusive() {
        let mut capture = Capture::new(None, 8);
        assert_eq!(capture.data(&bytes(8), false), Progress::Open);
        let too_large = Progress::Failed(FailReason::BodyTooLarge);
        assert_eq!(capture.data(&bytes(1), false), too_large);
    }

    #[test]
    fn large_frames_are_kept_and_small_ones_copied_together() {
        let large = bytes(SMALL);
        let mut capture = Capture::new(None, MIB);
        for data in [&bytes(1), &bytes(2), &large, &bytes(3)] {
            capture.data(data, false);
        }
        let payload = capture.into_payload();
        let segments: Vec<_> = payload.segments().collect();
        let lengths: Vec<_> = segments.iter().map(|segment| segment.len()).collect();
        assert_eq!(lengths, [3, SMALL, 3]);
        assert_eq!(segments[1].as_ptr(), large.as_ptr());
    }

    #[test]
    fn a_body_of_one_frame_is_kept_if_it_is_large_and_copied_if_it_is_small() {
        for (len, is_copied) in [(SMALL - 1, true), (SMALL, false)] {
            let whole = bytes(len);
            let mut capture = Capture::new(Some(len as u64), MIB);
            assert_eq!(capture.data(&whole, true), Progress::Complete);
            let payload = capture.into_payload().to_bytes();
            assert_eq!(payload, whole);
            assert_eq!(payload.as_ptr() != whole.as_ptr(), is_copied);
        }
    }

    #[test]
    fn what_comes_after_the_whole_is_kept_as_well() {
        let mut capture = Capture::new(None, MIB);
        capture.data(&bytes(2), true);
        capture.data(&bytes(3), true);
        assert_eq!(capture.into_payload().len(), 5);
    }

    #[test]
    fn many_small_frames_become_few_chunks() {
        let mut capture = Capture::new(None, MIB);
        for _ in 0..1_000 {
            capture.data(&bytes(100), false);
        }
        let payload = capture.into_payload();
        assert_eq!(payload.len(), 100_000);
        assert_eq!(payload.segments().count(), 4);
    }

    #[test]
    fn what_has_no_body_starts_empty() {
        let response = |status: u16| {
            let body = http_body_util::Full::new(bytes(3));
            Response::builder().status(status).body(body).unwrap()
        };
        assert_eq!(start(true, &response(200)), BodyStart::Empty);
        for status in [204, 304] {
            assert_eq!(start(false, &response(status)), BodyStart::Empty);
        }
        let declared = BodyStart::Watch { declared: Some(3) };
        assert_eq!(start(false, &response(200)), declared);
    }

    #[test]
    fn a_length_counts_where_nothing_overrides_it() {
        let declared = |lines: &[(&str, &str)]| {
            let lines = lines.iter().map(|(name, value)| {
                let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
                (name, value.parse().unwrap())
            });
            content_length(&lines.collect())
        };
        let length = "content-length";
        assert_eq!(declared(&[(length, "5")]), Some(5));
        assert_eq!(declared(&[(length, "2, 2")]), Some(2));
        assert_eq!(declared(&[(length, "2"), (length, "2")]), Some(2));
        assert_eq!(declared(&[]), None);
        for odd in ["", "+5", "-5", "5a", "2, 3", "5,", "99999999999999999999"] {
            assert_eq!(declared(&[(length, odd)]), None, "{odd}");
        }
        assert_eq!(declared(&[(length, "2"), (length, "3")]), None);
        for coding in ["chunked", "gzip, chunked", ""] {
            let overridden = [(length, "5"), ("transfer-encoding", coding)];
            assert_eq!(declared(&overridden), None, "{coding}");
        }
    }
}
