//! Every kind of response.

use std::{convert::Infallible, io};

use axum::{
    Json,
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{Stream, StreamExt, future, stream};
use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, TRAILER},
};
use http_body::Frame;
use http_body_util::StreamBody;
use tower_webhook::event::FailReason;

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) method: Method,
    pub(crate) response: fn() -> Response,
    pub(crate) end: End,
}

pub(crate) enum End {
    /// With this payload.
    Delivered(Bytes),
    Failed(FailReason),
    /// On HTTP/1 the server asks for nothing behind the declared length: the caller gets this much. On
    /// HTTP/2 it sends all, which the caller refuses.
    CutAtLength(Bytes),
}

impl Case {
    pub(crate) fn path(&self) -> String {
        format!("/{}", self.name)
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let get = |name, response, end| Case {
        name,
        method: Method::GET,
        response,
        end,
    };
    let delivered = |text: &'static str| End::Delivered(Bytes::from_static(text.as_bytes()));
    let failed = End::Failed;
    vec![
        get("json", || Json([1, 2]).into_response(), delivered("[1,2]")),
        get("string", || "text".into_response(), delivered("text")),
        get("empty", || ().into_response(), delivered("")),
        get("empty-string", || "".into_response(), delivered("")),
        get(
            "stream",
            || chunks(&["one,", "", "two,", "three"]),
            delivered("one,two,three"),
        ),
        get("stream-of-nothing", || chunks(&[]), delivered("")),
        get("large", large, End::Delivered(LARGE.repeat(4).into())),
        get(
            "with-length",
            || declared(8, &["one,", "two,"]),
            delivered("one,two,"),
        ),
        get("length-of-none", || declared(0, &[]), delivered("")),
        get(
            "longer",
            || declared(6, &["one,", "two,"]),
            failed(FailReason::LengthMismatch),
        ),
        get(
            "longer-by-frames",
            || declared(4, &["one,", "two,"]),
            End::CutAtLength(Bytes::from_static(b"one,")),
        ),
        get("shorter", shorter, failed(FailReason::LengthMismatch)),
        get(
            "trailers",
            || trailers(&["one,", "two,"]),
            delivered("one,two,"),
        ),
        get("only-trailers", || trailers(&[]), delivered("")),
        get(
            "error",
            || failing(&["one,", "two,"]),
            failed(FailReason::BodyFailed),
        ),
        get(
            "error-at-once",
            || failing(&[]),
            failed(FailReason::BodyFailed),
        ),
        get("panic", panicking, failed(FailReason::Panicked)),
        get(
            "no-content",
            || bodiless(StatusCode::NO_CONTENT),
            delivered(""),
        ),
        get(
            "not-modified",
            || bodiless(StatusCode::NOT_MODIFIED),
            delivered(""),
        ),
        get(
            "not-found",
            || (StatusCode::NOT_FOUND, "none").into_response(),
            delivered("none"),
        ),
        get(
            "broken",
            || (StatusCode::BAD_GATEWAY, "broken").into_response(),
            delivered("broken"),
        ),
        Case {
            name: "head",
            method: Method::HEAD,
            response: || declared(8, &["one,", "two,"]),
            end: delivered(""),
        },
        Case {
            name: "head-of-stream",
            method: Method::HEAD,
            response: || chunks(&["one,", "two,"]),
            end: delivered(""),
        },
    ]
}

/// Answers each path with its case, always with the same date.
pub(crate) async fn respond<B>(request: Request<B>) -> Result<Response, Infallible> {
    let cases = cases();
    let asked = cases
        .iter()
        .find(|case| case.path() == request.uri().path());
    let mut response = (asked.unwrap().response)();
    let date = HeaderValue::from_static("Mon, 23 Nov 2026 12:00:00 GMT");
    response.headers_mut().insert(DATE, date);
    Ok(response)
}

const LARGE: &[u8] = &[b'x'; 10_000];

fn large() -> Response {
    let frames = [LARGE; 4].map(|chunk| Ok::<_, Infallible>(Bytes::from_static(chunk)));
    Response::new(Body::from_stream(stream::iter(frames)))
}

fn chunks(chunks: &'static [&'static str]) -> Response {
    let chunks = chunks.iter().map(|chunk| Ok::<_, Infallible>(*chunk));
    (
        [(CONTENT_TYPE, "text/plain")],
        Body::from_stream(stream::iter(chunks)),
    )
        .into_response()
}

/// Makes the server send what it has before it asks for more.
fn paused(
    chunks: &'static [&'static str],
    last: Option<io::Error>,
) -> impl Stream<Item = io::Result<&'static str>> {
    let pause = stream::once(tokio::task::yield_now()).filter_map(|()| future::ready(None));
    let chunks = stream::iter(chunks).map(|chunk| Ok(*chunk));
    chunks.chain(pause).chain(stream::iter(last.map(Err)))
}

fn shorter() -> Response {
    let mut response = Response::new(Body::from_stream(paused(&["one,", "two,"], None)));
    response.headers_mut().insert(CONTENT_LENGTH, 9.into());
    response
}

fn declared(length: usize, of: &'static [&'static str]) -> Response {
    let mut response = chunks(of);
    response.headers_mut().insert(CONTENT_LENGTH, length.into());
    response
}

fn trailers(chunks: &'static [&'static str]) -> Response {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("7"));
    let data = chunks
        .iter()
        .map(|chunk| Frame::data(Bytes::from_static(chunk.as_bytes())));
    let frames = data
        .chain([Frame::trailers(trailers)])
        .map(Ok::<_, Infallible>);
    let body = Body::new(StreamBody::new(stream::iter(frames.collect::<Vec<_>>())));
    ([(TRAILER, "x-sum")], body).into_response()
}

fn failing(chunks: &'static [&'static str]) -> Response {
    let error = io::Error::other("it failed");
    Response::new(Body::from_stream(paused(chunks, Some(error))))
}

fn panicking() -> Response {
    let frames = (0..2).map(|at| match at {
        0 => Ok::<_, Infallible>("one,"),
        _ => panic!("on purpose"),
    });
    Response::new(Body::from_stream(stream::iter(frames)))
}

/// A status that has no body, and a body that is not sent.
fn bodiless(status: StatusCode) -> Response {
    let mut response = chunks(&["one,", "two,"]);
    *response.status_mut() = status;
    response
}
