use std::{
    pin::pin,
    time::{Duration, SystemTime},
};

use bytes::Buf;
use http::{HeaderMap, Response, header::RETRY_AFTER};
use http_body::Body;
use http_body_util::BodyExt;

use super::error::classify;
use crate::{
    BoxError,
    event::{AttemptError, Outcome},
};

/// How much of an answer's body is read, so that its connection can be used again.
const MAX_ANSWER: usize = 16 << 10;

/// Reads an answer to its end, or as far as it is worth it.
pub(super) async fn read<B>(response: Response<B>) -> Result<Outcome, AttemptError>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    let outcome = Outcome::Answered {
        status: response.status(),
        retry_after: retry_after(response.headers(), SystemTime::now()),
    };
    let mut body = pin!(response.into_body());
    let mut read = 0;
    while read <= MAX_ANSWER
        && let Some(frame) = body.frame().await
    {
        let frame = frame.map_err(|error| classify(&*error.into()))?;
        read += frame.data_ref().map_or(0, Buf::remaining);
    }
    Ok(outcome)
}

/// Seconds or a date; rubbish and what is over already is no wish.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    date.duration_since(now).ok()
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
            retry_after(&headers, now)
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
