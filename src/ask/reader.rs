use std::borrow::Cow;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri,
    header::{ACCESS_CONTROL_REQUEST_METHOD, CONNECTION, ORIGIN, UPGRADE, USER_AGENT},
};
use memchr::memchr;
use percent_encoding::percent_decode;

use super::{
    Problem, PromiseReader,
    parameter::{Occurrence, Parameter, form_decoded},
};
use crate::{
    delivery::{
        Secret, TraceParent,
        wire::{LOOP_MARK, REQUEST_ID, TRACEPARENT, USER_AGENT_PREFIX},
    },
    endpoint::{EndpointError, EndpointText, RecentEndpoints},
    id::RequestId,
};

/// How a request says that it wants a webhook.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    pub(crate) endpoint_parameter: Parameter,
    pub(crate) endpoint_header: Option<HeaderName>,
    pub(crate) secret_header: HeaderName,
    pub(crate) secret_required: bool,
}

/// What a request that wants a webhook says about it.
#[derive(Debug)]
pub(crate) struct Ask<T> {
    /// `None` when the caller brought none that can be kept.
    pub(crate) request_id: Option<RequestId>,
    pub(crate) endpoint: T,
    pub(crate) secret: Option<Secret>,
    /// `None` when the caller brought none that is valid.
    pub(crate) trace_parent: Option<TraceParent>,
}

/// In bytes.
const MAX_SECRET: usize = 1_024;

impl Reader {
    /// What a request says of the webhook whose [endpoint](Self::endpoint) it names; `None` if it is
    /// one that never leads to a webhook. Its secret is marked as sensitive.
    pub(crate) fn ask<B, T>(
        &self,
        request: &mut Request<B>,
        endpoint: Result<T, Problem>,
    ) -> Option<Result<Ask<T>, Problem>> {
        if request.method() == Method::CONNECT {
            return None;
        }
        let is_options = request.method() == Method::OPTIONS;
        let found = self.look_through(request.headers_mut());
        if found.asks_for_upgrade() || (is_options && found.is_preflight()) {
            return None;
        }
        if found.is_delivery {
            return Some(Err(Problem::Loop));
        }
        Some(endpoint.and_then(|endpoint| {
            Ok(Ask {
                endpoint,
                secret: self.secret(found.secret)?,
                request_id: found.request_id(),
                trace_parent: found.trace_parent(),
            })
        }))
    }

    /// The endpoint that a request names, as it was made of its text lately or is made now; `None` if
    /// it names none. Then it allocates nothing.
    pub(crate) fn endpoint<B, T: Clone>(
        &self,
        request: &Request<B>,
        recent: &RecentEndpoints<T>,
        make: impl FnOnce(&str) -> Result<T, EndpointError>,
    ) -> Option<Result<T, Problem>> {
        let query = request.uri().query().unwrap_or_default();
        let in_query = self.endpoint_parameter.given_in(query);
        let in_headers = match &self.endpoint_header {
            Some(name) => given_in_headers(name, request.headers()),
            None => Occurrence::Never,
        };
        let written = match (in_query, in_headers) {
            (Occurrence::Never, Occurrence::Never) => return None,
            (Occurrence::Once(value), Occurrence::Never) => EndpointText::Query(value),
            (Occurrence::Never, Occurrence::Once(value)) => EndpointText::Header(value),
            _ => return Some(Err(Problem::EndpointTwice)),
        };
        if let EndpointText::Query(value) = written
            && is_cut(query.as_bytes(), value)
        {
            return Some(Err(Problem::EndpointCut));
        }
        Some(recent.get_or_read(written, || {
            let text = decode(written).map_err(|NotText| Problem::EndpointUnreadable)?;
            if text.is_empty() {
                return Err(Problem::EndpointEmpty);
            }
            Ok(make(&text)?)
        }))
    }

    /// Takes what asks for a webhook out of a request.
    pub(crate) fn hide<B>(&self, request: &mut Request<B>, promises: Option<&PromiseReader>) {
        let headers = request.headers_mut();
        headers.remove(&self.secret_header);
        if let Some(name) = &self.endpoint_header {
            headers.remove(name);
        }
        let uri = request.uri();
        let Some(query) = uri.query() else {
            return;
        };
        let mut rest = self.endpoint_parameter.taken_out_of(query);
        if let (Some(query), Some(promises)) = (&rest, promises) {
            rest = promises.parameter().taken_out_of(query);
        }
        let path = uri.path();
        let target = match &rest {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = target.parse().ok();
        // It has no other characters than before, and is not longer.
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }

    /// In one pass: to look each name up would be to hash it.
    fn look_through<'a>(&self, headers: &'a mut HeaderMap) -> HeaderFindings<'a> {
        let mut found = HeaderFindings::default();
        for (name, value) in headers {
            if *name == self.secret_header {
                // So that no answer and no handler logs it.
                value.set_sensitive(true);
                found.secret.add(value.as_bytes());
            }
            if *name == REQUEST_ID {
                found.id.add(value.as_bytes());
            }
            if *name == TRACEPARENT {
                found.trace_parent.add(value.as_bytes());
            }
            found.is_delivery |= marks_delivery(name, value);
            if *name == UPGRADE {
                // Servers do not grant an `h2c` any more (RFC 9113); some clients always ask for it.
                found.upgrades |= !value.as_bytes().eq_ignore_ascii_case(b"h2c");
            } else if *name == CONNECTION {
                found.connection_upgrades |= names_upgrade(value);
            }
            found.origin |= *name == ORIGIN;
            found.asks_for_method |= *name == ACCESS_CONTROL_REQUEST_METHOD;
        }
        found
    }

    fn secret(&self, given: Occurrence<'_>) -> Result<Option<Secret>, Problem> {
        match given {
            Occurrence::Never if self.secret_required => Err(Problem::SecretMissing),
            Occurrence::Never => Ok(None),
            Occurrence::Once([]) => Err(Problem::SecretEmpty),
            Occurrence::Once(secret) if secret.len() > MAX_SECRET => Err(Problem::SecretTooLong),
            Occurrence::Once(secret) => Ok(Some(Secret::new(secret))),
            Occurrence::Again => Err(Problem::SecretTwice),
        }
    }
}

/// Whether a request is itself a delivery, of this crate or of another sender that marks its own.
pub(crate) fn is_delivery(headers: &HeaderMap) -> bool {
    headers
        .iter()
        .any(|(name, value)| marks_delivery(name, value))
}

fn marks_delivery(name: &HeaderName, value: &HeaderValue) -> bool {
    *name == LOOP_MARK
        || *name == USER_AGENT && value.as_bytes().starts_with(USER_AGENT_PREFIX.as_bytes())
}

fn given_in_headers<'a>(name: &HeaderName, headers: &'a HeaderMap) -> Occurrence<'a> {
    let mut given = Occurrence::Never;
    for value in headers.get_all(name) {
        given.add(value.as_bytes());
    }
    given
}

/// What the headers of a request say that concerns a webhook.
#[derive(Default)]
struct HeaderFindings<'a> {
    secret: Occurrence<'a>,
    id: Occurrence<'a>,
    trace_parent: Occurrence<'a>,
    is_delivery: bool,
    upgrades: bool,
    connection_upgrades: bool,
    origin: bool,
    asks_for_method: bool,
}

impl HeaderFindings<'_> {
    fn asks_for_upgrade(&self) -> bool {
        self.upgrades && self.connection_upgrades
    }

    /// Whether a browser asks by it whether a page may call. It never carries the secret, and needs
    /// its 2xx.
    fn is_preflight(&self) -> bool {
        self.origin && self.asks_for_method
    }

    fn request_id(&self) -> Option<RequestId> {
        match self.id {
            Occurrence::Once(id) => RequestId::copy_of(id),
            Occurrence::Never | Occurrence::Again => None,
        }
    }

    fn trace_parent(&self) -> Option<TraceParent> {
        match self.trace_parent {
            Occurrence::Once(text) => TraceParent::read(text),
            Occurrence::Never | Occurrence::Again => None,
        }
    }
}

/// Whether this value, as it is written in a query, has a query of its own that is not encoded, and
/// something follows it: most likely it goes on there.
fn is_cut(query: &[u8], value: &[u8]) -> bool {
    let is_last = value.as_ptr_range().end == query.as_ptr_range().end;
    !is_last && memchr(b'?', value).is_some()
}

/// What is no text, once decoded.
struct NotText;

fn decode(written: EndpointText<&[u8]>) -> Result<Cow<'_, str>, NotText> {
    let raw = match written {
        EndpointText::Query(raw) => raw,
        EndpointText::Header(text) => {
            let ascii = text.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
            let text = str::from_utf8(text).ok().filter(|_| ascii);
            return text.map(Cow::from).ok_or(NotText);
        }
    };
    if !raw.contains(&b'+') {
        return percent_decode(raw).decode_utf8().map_err(|_| NotText);
    }
    let decoded = String::from_utf8(form_decoded(raw).collect());
    decoded.map(Cow::from).map_err(|_| NotText)
}

fn names_upgrade(connection: &HeaderValue) -> bool {
    let mut options = connection.as_bytes().split(|&byte| byte == b',');
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
