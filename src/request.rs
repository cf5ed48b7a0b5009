mod parameter;

use std::borrow::Cow;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request,
    header::{CONNECTION, UPGRADE, USER_AGENT},
};
use percent_encoding::percent_decode;

pub(crate) use self::parameter::Parameter;
use self::parameter::{Given, form_decoded};
use crate::{
    EndpointError, RequestId, Secret,
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
pub(crate) struct Wish<T> {
    pub(crate) id: RequestId,
    pub(crate) endpoint: T,
    pub(crate) secret: Option<Secret>,
}

/// In bytes.
const MAX_SECRET: usize = 1_024;

impl Reader {
    /// What a request says of the webhook whose [endpoint](Self::endpoint) it names; `None` if it is
    /// one that never leads to a webhook. Its secret is marked as sensitive.
    pub(crate) fn wish<B, T>(
        &self,
        request: &mut Request<B>,
        endpoint: Result<T, Problem>,
    ) -> Option<Result<Wish<T>, Problem>> {
        if request.method() == Method::CONNECT {
            return None;
        }
        let said = self.said_in(request.headers_mut());
        if said.asks_for_upgrade() {
            return None;
        }
        if said.is_delivery {
            return Some(Err(Problem::Loop));
        }
        Some(endpoint.and_then(|endpoint| {
            Ok(Wish {
                endpoint,
                secret: self.secret(said.secret)?,
                id: said.id(),
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
            None => Given::Never,
        };
        let written = match (in_query, in_headers) {
            (Given::Never, Given::Never) => return None,
            (Given::Once(value), Given::Never) => Written::Query(value),
            (Given::Never, Given::Once(value)) => Written::Header(value),
            _ => return Some(Err(Problem::EndpointTwice)),
        };
        Some(recent.get_or_read(written, || {
            let text = decode(written).map_err(|NotText| Problem::EndpointUnreadable)?;
            if text.is_empty() {
                return Err(Problem::EndpointEmpty);
            }
            Ok(make(&text)?)
        }))
    }

    /// In one pass: to look each name up would be to hash it.
    fn said_in<'a>(&self, headers: &'a mut HeaderMap) -> Said<'a> {
        let mut said = Said::default();
        for (name, value) in headers {
            if *name == self.secret_header {
                // So that no answer and no handler logs it.
                value.set_sensitive(true);
                said.secret.add(value.as_bytes());
            }
            if *name == REQUEST_ID {
                said.id.add(value.as_bytes());
            }
            said.is_delivery |= *name == LOOP_MARK;
            if *name == USER_AGENT {
                said.is_delivery |= value.as_bytes().starts_with(USER_AGENT_PREFIX.as_bytes());
            } else if *name == UPGRADE {
                // Servers do not grant an `h2c` any more (RFC 9113); some clients always ask for it.
                said.upgrades |= !value.as_bytes().eq_ignore_ascii_case(b"h2c");
            } else if *name == CONNECTION {
                said.connection_upgrades |= names_upgrade(value);
            }
        }
        said
    }

    fn secret(&self, given: Given<'_>) -> Result<Option<Secret>, Problem> {
        match given {
            Given::Never if self.secret_required => Err(Problem::SecretMissing),
            Given::Never => Ok(None),
            Given::Once([]) => Err(Problem::SecretEmpty),
            Given::Once(secret) if secret.len() > MAX_SECRET => Err(Problem::SecretTooLong),
            Given::Once(secret) => Ok(Some(Secret::new(secret))),
            Given::Again => Err(Problem::SecretTwice),
        }
    }
}

fn given_in_headers<'a>(name: &HeaderName, headers: &'a HeaderMap) -> Given<'a> {
    let mut given = Given::Never;
    for value in headers.get_all(name) {
        given.add(value.as_bytes());
    }
    given
}

/// What the headers of a request say that concerns a webhook.
#[derive(Default)]
struct Said<'a> {
    secret: Given<'a>,
    id: Given<'a>,
    is_delivery: bool,
    upgrades: bool,
    connection_upgrades: bool,
}

impl Said<'_> {
    fn asks_for_upgrade(&self) -> bool {
        self.upgrades && self.connection_upgrades
    }

    fn id(&self) -> RequestId {
        let given = match self.id {
            Given::Once(id) => RequestId::copy_of(id),
            Given::Never | Given::Again => None,
        };
        given.unwrap_or_else(RequestId::fresh)
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

fn names_upgrade(connection: &HeaderValue) -> bool {
    let mut options = connection.as_bytes().split(|&byte| byte == b',');
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

#[cfg(test)]
mod tests;
