mod parameter;

use std::borrow::Cow;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request,
    header::{CONNECTION, UPGRADE, USER_AGENT},
};
use percent_encoding::percent_decode;

pub(crate) use self::parameter::Parameter;
use self::parameter::form_decoded;
use crate::{
    Endpoint, EndpointPolicy, RequestId, Secret,
    endpoint::{RecentEndpoints, Written},
    problem::Problem,
    wire::{LOOP_MARK, REQUEST_ID, USER_AGENT_PREFIX},
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
pub(crate) struct Wish {
    pub(crate) id: RequestId,
    pub(crate) endpoint: Endpoint,
    pub(crate) secret: Option<Secret>,
}

/// In bytes.
const MAX_SECRET: usize = 1_024;

impl Reader {
    /// Whether the request wants a webhook. Allocates nothing.
    pub(crate) fn is_asked<B>(&self, request: &Request<B>) -> bool {
        let query = request.uri().query();
        let in_query = query.is_some_and(|query| self.endpoint_parameter.is_in(query));
        let asked = in_query || self.in_headers(request.headers()).next().is_some();
        asked && !never_a_webhook(request)
    }

    /// Reads a request that [is asked](Self::is_asked) for a webhook, and marks its secret as
    /// sensitive.
    pub(crate) fn read<B>(
        &self,
        request: &mut Request<B>,
        policy: &EndpointPolicy,
        recent: &RecentEndpoints,
    ) -> Result<Wish, Problem> {
        // First, so that no answer and no handler logs it.
        let secret = self.take_note_of_secret(request.headers_mut());
        if is_delivery(request.headers()) {
            return Err(Problem::Loop);
        }
        Ok(Wish {
            endpoint: self.endpoint(request, policy, recent)?,
            secret: secret?,
            id: id(request.headers()),
        })
    }

    fn endpoint<B>(
        &self,
        request: &Request<B>,
        policy: &EndpointPolicy,
        recent: &RecentEndpoints,
    ) -> Result<Endpoint, Problem> {
        let query = self.in_query(request.uri().query().unwrap_or_default());
        let mut given = query.chain(self.in_headers(request.headers()));
        let (Some(written), None) = (given.next(), given.next()) else {
            return Err(Problem::EndpointTwice);
        };
        recent.get_or_read(written, || {
            let text = decode(written).map_err(|NotText| Problem::EndpointUnreadable)?;
            if text.is_empty() {
                return Err(Problem::EndpointEmpty);
            }
            Ok(policy.check(&text)?)
        })
    }

    /// Every value that the query gives the endpoint's parameter.
    fn in_query<'a>(&'a self, query: &'a str) -> impl Iterator<Item = Written<&'a [u8]>> + 'a {
        self.endpoint_parameter.values(query).map(Written::Query)
    }

    /// Every value of the endpoint's header, if there is such a header.
    fn in_headers<'a>(
        &'a self,
        headers: &'a HeaderMap,
    ) -> impl Iterator<Item = Written<&'a [u8]>> + 'a {
        let name = self.endpoint_header.iter();
        let values = name.flat_map(|name| headers.get_all(name));
        values.map(|value| Written::Header(value.as_bytes()))
    }

    fn take_note_of_secret(&self, headers: &mut HeaderMap) -> Result<Option<Secret>, Problem> {
        let values = match headers.entry(&self.secret_header) {
            http::header::Entry::Occupied(mut values) => {
                values
                    .iter_mut()
                    .for_each(|value| value.set_sensitive(true));
                values
            }
            http::header::Entry::Vacant(_) if self.secret_required => {
                return Err(Problem::SecretMissing);
            }
            http::header::Entry::Vacant(_) => return Ok(None),
        };
        let mut given = values.iter();
        match (given.next().map(|value| value.as_bytes()), given.next()) {
            (Some([]), None) => Err(Problem::SecretEmpty),
            (Some(secret), None) if secret.len() > MAX_SECRET => Err(Problem::SecretTooLong),
            (Some(secret), None) => Ok(Some(Secret::new(secret))),
            _ => Err(Problem::SecretTwice),
        }
    }
}

/// What is no text, once decoded.
struct NotText;

fn decode(written: Written<&[u8]>) -> Result<Cow<'_, str>, NotText> {
    let raw = match written {
        Written::Query(raw) => raw,
        Written::Header(text) => {
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

fn never_a_webhook<B>(request: &Request<B>) -> bool {
    request.method() == Method::CONNECT || asks_for_upgrade(request.headers())
}

/// An `h2c` upgrade is one that servers do not grant any more (RFC 9113); some clients always ask
/// for it.
fn asks_for_upgrade(headers: &HeaderMap) -> bool {
    let to_something = headers
        .get_all(UPGRADE)
        .iter()
        .any(|protocol| !protocol.as_bytes().eq_ignore_ascii_case(b"h2c"));
    to_something && headers.get_all(CONNECTION).iter().any(names_upgrade)
}

fn names_upgrade(connection: &HeaderValue) -> bool {
    let mut options = connection.as_bytes().split(|&byte| byte == b',');
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

fn is_delivery(headers: &HeaderMap) -> bool {
    let ours = |agent: &HeaderValue| agent.as_bytes().starts_with(USER_AGENT_PREFIX.as_bytes());
    headers.contains_key(LOOP_MARK) || headers.get(USER_AGENT).is_some_and(ours)
}

fn id(headers: &HeaderMap) -> RequestId {
    let mut given = headers.get_all(&REQUEST_ID).iter();
    match (given.next(), given.next()) {
        (Some(id), None) => RequestId::copy_of(id.as_bytes()).unwrap_or_else(RequestId::fresh),
        _ => RequestId::fresh(),
    }
}

#[cfg(test)]
mod tests;
