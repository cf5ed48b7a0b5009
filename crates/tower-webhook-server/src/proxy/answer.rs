//! What a caller gets: the service's answer, or a sentence of the proxy's.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::Full;
use hyper::{
    HeaderMap, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, TRANSFER_ENCODING},
};

use super::headers::options;

pub(crate) enum Body {
    /// The service's, as it comes.
    Service(Incoming),
    Own(Full<Bytes>),
    /// None where hyper would take the length for a mistake if it were told so.
    Bodiless,
}

pub(crate) fn own(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::Own(Full::from(text)));
    *response.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, text);
    response
}

/// Leaves one length at most, the one that counts (RFC 9112, 6.3), and says why there is none.
pub(crate) fn settle_length(
    status: StatusCode,
    headers: &mut HeaderMap,
) -> Result<(), &'static str> {
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
        return match &options(headers, &TRANSFER_ENCODING)[..] {
            [coding] if coding == "chunked" => Ok(()),
            _ => Err("a Transfer-Encoding that nobody has asked for"),
        };
    }
    let mut length = None;
    for line in headers.get_all(CONTENT_LENGTH) {
        for text in line.as_bytes().split(|byte| *byte == b',') {
            let text = text.trim_ascii();
            let number = str::from_utf8(text).ok().and_then(|text| text.parse().ok());
            match number.filter(|_| text.iter().all(u8::is_ascii_digit)) {
                None => return Err("a malformed Content-Length"),
                Some(other) if length.is_some_and(|length: u64| length != other) => {
                    return Err("more than one Content-Length");
                }
                number => length = number,
            }
        }
    }
    match length {
        Some(1..) if status == StatusCode::NO_CONTENT => {
            headers.remove(CONTENT_LENGTH);
        }
        Some(length) => {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        None => {}
    }
    Ok(())
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            Self::Service(body) => Pin::new(body).poll_frame(cx),
            Self::Own(text) => Pin::new(text)
                .poll_frame(cx)
                .map_err(|never| match never {}),
            Self::Bodiless => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Service(body) => body.is_end_stream(),
            Self::Own(text) => text.is_end_stream(),
            Self::Bodiless => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Service(body) => body.size_hint(),
            Self::Own(text) => text.size_hint(),
            Self::Bodiless => SizeHint::default(),
        }
    }
}
