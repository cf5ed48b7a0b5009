use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use bytes::Buf;
use http::{HeaderMap, Response, header::RETRY_AFTER};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::timeout;

use crate::event::Outcome;

/// How many bytes of an answer's body are read so that its connection can be used again.
const MAX_BODY: usize = 16 << 10;

/// How long an attempt whose outcome is known may take to make its connection usable again. It has
/// its permit until then.
const FINISHING: Duration = Duration::from_secs(1);

/// The outcome of an attempt whose answer has this head. Nothing that happens to the body changes
/// it.
pub(super) fn outcome<B>(answer: &Response<B>) -> Outcome {
    Outcome::answered(answer.status(), retry_after(answer.headers()))
}

/// Waits for this future for at most [`FINISHING`].
pub(super) async fn briefly<F: Future>(mut finishing: Pin<&mut F>) -> Option<F::Output> {
    // Most often it is ready, and no timer is set.
    let at_once = poll_fn(|cx| Poll::Ready(finishing.as_mut().poll(cx)));
    if let Poll::Ready(output) = at_once.await {
        return Some(output);
    }
    Box::pin(timeout(FINISHING, finishing)).await.ok()
}

pin_project! {
    /// Reads a body to its end, or until more than [`MAX_BODY`] bytes have come. Its output is
    /// whether it was read to its end.
    ///
    /// Not an `async` block, which would take the body's size twice.
    pub(super) struct ReadBody<B> {
        #[pin]
        body: B,
        read: usize,
    }
}

impl<B> ReadBody<B> {
    pub(super) fn new(body: B) -> Self {
        Self { body, read: 0 }
    }
}

impl<B: Body> Future for ReadBody<B> {
    type Output = bool;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        let mut this = self.project();
        while *this.read <= MAX_BODY {
            match ready!(this.body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => *this.read += frame.data_ref().map_or(0, Buf::remaining),
                Some(Err(_)) => return Poll::Ready(false),
                None => return Poll::Ready(true),
            }
        }
        Poll::Ready(false)
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    wished_delay(value, SystemTime::now)
}

/// Reads the value of `Retry-After`: seconds or a date. Anything else, and a date in the past,
/// counts as absent.
pub(super) fn wished_delay(value: &str, now: impl Fn() -> SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    date.duration_since(now()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_a_date_or_nothing() {
        let now = httpdate::parse_http_date("Mon, 23 Nov 2026 12:00:00 GMT").unwrap();
        let wish = |value| wished_delay(value, || now);
        assert_eq!(wish("120"), Some(Duration::from_secs(120)));
        assert_eq!(
            wish("Mon, 23 Nov 2026 12:01:00 GMT"),
            Some(Duration::from_secs(60))
        );
        assert_eq!(
            wish("99999999999999999999999999"),
            Some(Duration::from_secs(u64::MAX))
        );
        for rubbish in ["", "-1", "1.5", "soon", "Mon, 23 Nov 2026 11:59:59 GMT"] {
            assert_eq!(wish(rubbish), None, "{rubbish}");
        }
    }
}
