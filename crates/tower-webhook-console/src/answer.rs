use http::{
    HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
        REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    },
};
use http_body::Body;
use serde_json::Value;
use tower_webhook::BoxError;

use crate::{ConsoleBody, events::ChangeStream};

/// Other sites cannot load an answer, not even as an image.
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

pub(crate) type Answer = Response<ConsoleBody>;

/// Why a request is answered with an error.
#[derive(Debug)]
pub(crate) enum Refused {
    /// 400: the query, in a few words that name its part.
    Bad(&'static str),
    /// 403: an action that may not be done, and why.
    Forbidden(&'static str),
    /// 404.
    NotFound,
    /// 501: the outbox never can.
    NotListed,
    /// 503: the outbox could not do it. Its words are for the log.
    Outbox(BoxError),
    /// 500: the system has no random numbers.
    NoRandom,
}

impl Refused {
    pub(crate) fn answer(self) -> Answer {
        let (status, error) = match self {
            Self::Bad(error) => (StatusCode::BAD_REQUEST, error),
            Self::Forbidden(error) => (StatusCode::FORBIDDEN, error),
            Self::NotFound => (StatusCode::NOT_FOUND, "there is no such thing here"),
            Self::NotListed => (
                StatusCode::NOT_IMPLEMENTED,
                "what is in this outbox cannot be looked at",
            ),
            Self::Outbox(error) => {
                tracing::error!(%error, "the outbox cannot answer the console");
                let text = "the outbox cannot do this now: the log says more";
                (StatusCode::SERVICE_UNAVAILABLE, text)
            }
            Self::NoRandom => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "the system has no random numbers",
            ),
        };
        let mut answer = json(&serde_json::json!({ "error": error }));
        *answer.status_mut() = status;
        answer
    }
}

pub(crate) fn json(value: &Value) -> Answer {
    of("application/json", ConsoleBody::whole(value.to_string()))
}

pub(crate) fn changes(stream: ChangeStream) -> Answer {
    let mut answer = of("text/event-stream", ConsoleBody::changes(stream));
    // Proxies such as nginx would hold it back otherwise.
    let no = HeaderValue::from_static("no");
    answer.headers_mut().insert("x-accel-buffering", no);
    answer
}

/// Nothing but the page's own script and style runs, and nothing is loaded from elsewhere.
pub(crate) fn page(html: String, nonce: &str) -> Result<Answer, Refused> {
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; \
         connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    let policy = HeaderValue::try_from(policy).map_err(|_| Refused::NoRandom)?;
    let mut answer = of("text/html; charset=utf-8", ConsoleBody::whole(html));
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    Ok(answer)
}

/// For those whom [`Access`](crate::Access) keeps out.
pub(crate) fn no_access() -> Answer {
    let text = "You may not open this console.\n";
    let mut answer = of("text/plain; charset=utf-8", ConsoleBody::whole(text));
    *answer.status_mut() = StatusCode::FORBIDDEN;
    answer
}

pub(crate) fn wrong_method(allowed: &'static str) -> Answer {
    let mut answer = json(&serde_json::json!({ "error": "this method is not allowed here" }));
    *answer.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    let allowed = HeaderValue::from_static(allowed);
    answer.headers_mut().insert(ALLOW, allowed);
    answer
}

/// What this method gets of an answer: a `HEAD` only its head.
pub(crate) fn to(method: &Method, mut answer: Answer) -> Answer {
    if method == Method::HEAD {
        if let Some(len) = answer.body().size_hint().exact() {
            answer.headers_mut().insert(CONTENT_LENGTH, len.into());
        }
        *answer.body_mut() = ConsoleBody::default();
    }
    answer
}

fn of(content_type: &'static str, body: ConsoleBody) -> Answer {
    let mut answer = Response::new(body);
    let headers = answer.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (RESOURCE_POLICY, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Where an answer is opened by itself, nothing in it runs.
    let nothing = "default-src 'none'; frame-ancestors 'none'";
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(nothing));
    answer
}
