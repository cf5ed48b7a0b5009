use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use bytes::Buf;
use http::{HeaderMap, Response, header::RETRY_AFTER};
use http_body::Body;
use pin_project_lite::pin_project;

use super::error::classify;
use crate::{
    error::BoxError,
    event::{AttemptError, Outcome},
};

/// How many bytes of an answer's body are read so that its connection can be used again.
const MAX_ANSWER: usize = 16 << 10;

/// The result of reading an answer.
pub(super) struct Answer {
    pub(super) outcome: Outcome,
    /// Whether it was read to its end.
    #[cfg_attr(not(feature = "client"), allow(dead_code))] // the crate's own client uses it
    pub(super) whole: bool,
}

pin_project! {
    /// Reads an answer to its end, or until more than [`MAX_ANSWER`] bytes have come.
    ///
    /// Not an `async` block, which would take the body's size twice.
    pub(super) struct ReadAnswer<B> {
        #[pin]
        body: B,
        outcome: Outcome,
        read: usize,
    }
}

pub(super) fn read<B: Body>(response: Response<B>) -> ReadAnswer<B> {
    ReadAnswer {
        outcome: Outcome::Answered {
            status: response.status(),
            retry_after: retry_after(response.headers(), SystemTime::now),
        },
        body: response.into_body(),
        read: 0,
    }
}

impl<B> Future for ReadAnswer<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Output = Result<Answer, AttemptError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let outcome = *this.outcome;
        while *this.read <= MAX_ANSWER {
            let Some(frame) = ready!(this.body.as_mut().poll_frame(cx)) else {
                let whole = true;
                return Poll::Ready(Ok(Answer { outcome, whole }));
            };
            let frame = frame.map_err(|error| classify(&*error.into()))?;
            *this.read += frame.data_ref().map_or(0, Buf::remaining);
        }
        let whole = false;
        Poll::Ready(Ok(Answer { outcome, whole }))
    }
}

/// Reads seconds or a date. Anything else, and a date in the past, counts as absent.
fn retry_after(headers: &HeaderMap, now: impl Fn() -> SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    date.duration_since(now()).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn retry_after_is_seconds_a_date_or_nothing() {
        let now = httpdate::parse_http_date("Mon, 23 Nov 2026 12:00:00 GMT").unwrap();
        let wish = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(value));
            retry_after(&headers, || now)
        };
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
