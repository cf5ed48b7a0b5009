use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// The bytes of a response as they were captured: a list of segments, not one buffer.
///
/// It is an [`http_body::Body`] whose exact length is known, so it is also the request body that a
/// user-supplied client posts. Cloning it copies no bytes.
///
/// ```
/// use http_body::Body;
/// use tower_webhook::Payload;
///
/// let payload = Payload::from("{\"state\":\"done\"}");
/// assert_eq!(payload.len(), 16);
/// assert_eq!(payload.size_hint().exact(), Some(16));
/// ```
#[derive(Clone, Default)]
pub struct Payload {
    segments: Segments,
    /// How many segments `poll_frame` has returned.
    given: usize,
    remaining: usize,
}

#[derive(Clone, Default)]
enum Segments {
    #[default]
    Empty,
    One(Bytes),
    Many(Arc<[Bytes]>),
}

impl Payload {
    /// The segments in their order.
    pub fn segments(&self) -> impl Iterator<Item = &[u8]> {
        self.segments.as_slice()[self.given..]
            .iter()
            .map(Bytes::as_ref)
    }

    /// The number of bytes in all segments.
    #[must_use]
    pub fn len(&self) -> usize {
        self.remaining
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remaining == 0
    }

    /// All bytes in one buffer. They are copied unless there is only one segment.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match &self.segments.as_slice()[self.given..] {
            [] => Bytes::new(),
            [one] => one.clone(),
            many => many.concat().into(),
        }
    }
}

impl Segments {
    fn as_slice(&self) -> &[Bytes] {
        match self {
            Self::Empty => &[],
            Self::One(bytes) => std::slice::from_ref(bytes),
            Self::Many(segments) => segments,
        }
    }
}

impl From<Vec<Bytes>> for Payload {
    fn from(mut segments: Vec<Bytes>) -> Self {
        segments.retain(|segment| !segment.is_empty());
        let remaining = segments.iter().map(Bytes::len).sum();
        let segments = match segments.len() {
            0 => Segments::Empty,
            1 => Segments::One(segments.remove(0)),
            _ => Segments::Many(segments.into()),
        };
        Self {
            segments,
            given: 0,
            remaining,
        }
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self {
            remaining: bytes.len(),
            given: 0,
            segments: if bytes.is_empty() {
                Segments::Empty
            } else {
                Segments::One(bytes)
            },
        }
    }
}

impl From<&'static str> for Payload {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.segments.as_slice().get(self.given).cloned();
        Poll::Ready(next.map(|segment| {
            self.given += 1;
            self.remaining -= segment.len();
            Ok(Frame::data(segment))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining as u64)
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload")
            .field("len", &self.remaining)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(payload: &mut Payload) -> Option<Bytes> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match Pin::new(payload).poll_frame(&mut cx) {
            Poll::Ready(frame) => frame.map(|frame| frame.unwrap().into_data().unwrap()),
            Poll::Pending => unreachable!("a payload is always ready"),
        }
    }

    #[test]
    fn gives_every_segment_once_and_counts_down() {
        let mut payload = Payload::from(vec![
            Bytes::from_static(b"ab"),
            Bytes::new(),
            Bytes::from_static(b"c"),
        ]);
        let whole = payload.clone();
        assert_eq!(payload.len(), 3);
        assert_eq!(next(&mut payload).unwrap(), "ab");
        assert_eq!(payload.size_hint().exact(), Some(1));
        assert!(!payload.is_end_stream());
        assert_eq!(next(&mut payload).unwrap(), "c");
        assert!(payload.is_end_stream());
        assert_eq!(next(&mut payload), None);
        assert_eq!(whole.to_bytes(), "abc");
    }

    #[test]
    fn an_empty_payload_has_no_segment() {
        for payload in [
            Payload::default(),
            Bytes::new().into(),
            vec![Bytes::new()].into(),
        ] {
            assert!(payload.is_empty());
            assert_eq!(payload.segments().count(), 0);
            assert_eq!(payload.to_bytes(), "");
        }
    }

    #[test]
    fn one_segment_is_not_copied() {
        let bytes = Bytes::from(vec![7; 100]);
        let payload = Payload::from(bytes.clone());
        assert_eq!(payload.to_bytes().as_ptr(), bytes.as_ptr());
    }
}
