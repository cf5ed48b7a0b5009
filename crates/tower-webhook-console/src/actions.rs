//! What changes something: who may ask for it, what is meant, and how many they are.

use std::time::SystemTime;

use http::{
    HeaderMap, Uri,
    header::{HOST, ORIGIN},
};
use serde_json::{Value, json};
use tower_webhook::{
    Dispatcher,
    outbox::{DeliveryFilter, DeliveryState},
};

use crate::{answer::Refused, count, json::millis, query::Query, token::Token};

const TOKEN: &str = "x-console-token";
const FETCH_SITE: &str = "sec-fetch-site";

/// Counting stops here: more than that is "more".
const COUNTED: usize = 10_000;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Redeliver,
    Cancel,
}

impl Action {
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "redeliver" => Some(Self::Redeliver),
            "cancel" => Some(Self::Cancel),
            _ => None,
        }
    }

    /// Only what it can be done to, so that what is counted is what is done.
    fn narrowed(self, filter: DeliveryFilter) -> Result<DeliveryFilter, Refused> {
        use DeliveryState::{Dead, Delivered, Failed, Waiting};
        match (self, filter.state()) {
            (Self::Redeliver, Some(Dead | Delivered | Failed)) | (Self::Cancel, Some(Waiting)) => {
                Ok(filter)
            }
            (Self::Redeliver, None) => Ok(filter.with_state(Dead)),
            (Self::Cancel, None) => Ok(filter.with_state(Waiting)),
            (Self::Redeliver, Some(_)) => Err(Refused::Bad(
                "state: what waits or runs cannot be redelivered",
            )),
            (Self::Cancel, Some(_)) => Err(Refused::Bad("state: only what waits can be cancelled")),
        }
    }
}

/// Whether the page itself asks: it has the token, and a browser says that it is of this origin.
pub(crate) fn check(token: &Token, headers: &HeaderMap, uri: &Uri) -> Result<(), Refused> {
    let has_token = headers
        .get(TOKEN)
        .is_some_and(|given| token.is(given.as_bytes()));
    if !has_token {
        return Err(Refused::Forbidden("the page is too old: load it again"));
    }
    match is_same_origin(headers, uri) {
        true => Ok(()),
        false => Err(Refused::Forbidden("this comes from another site")),
    }
}

/// `Sec-Fetch-Site` cannot be forged by a page. Browsers that do not send it, or not without TLS, send
/// `Origin` with every POST.
fn is_same_origin(headers: &HeaderMap, uri: &Uri) -> bool {
    if let Some(site) = headers.get(FETCH_SITE) {
        return site == "same-origin";
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.or(uri.authority().map(|authority| authority.as_str()));
    let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
    let of_origin = origin.and_then(|origin| origin.split_once("://"));
    host.zip(of_origin)
        .is_some_and(|(host, (_, of_origin))| host.eq_ignore_ascii_case(of_origin))
}

/// How many an action would meet at most, and the filter's times as they are now, to be sent with it: what comes
/// later was not counted and is not meant.
pub(crate) async fn count(dispatcher: &Dispatcher, query: &Query) -> Result<Value, Refused> {
    let action = query.get("action").and_then(Action::named);
    let action = action.ok_or(Refused::Bad("action: neither redeliver nor cancel"))?;
    let mut filter = action.narrowed(query.filter(dispatcher).await?)?;
    let now = SystemTime::now();
    filter = filter
        .clone()
        .accepted_before(filter.before().map_or(now, |before| before.min(now)));
    let number = count::up_to(COUNTED, dispatcher, &filter).await;
    let number = number.map_err(Refused::Outbox)?;
    Ok(json!({
        "number": number.min(COUNTED),
        "is_more": number > COUNTED,
        "state": filter.state().map(DeliveryState::name),
        "from": filter.since().map(millis),
        "to": filter.before().map(millis),
    }))
}

/// Does it, and says how many it met.
pub(crate) async fn act(
    dispatcher: &Dispatcher,
    action: Action,
    query: &Query,
) -> Result<Value, Refused> {
    let mut number = 0;
    if let Some(ids) = query.ids()? {
        for id in ids {
            number += match action {
                Action::Redeliver => dispatcher.redeliver(id).await.map(usize::from),
                Action::Cancel => {
                    let one = action.narrowed(DeliveryFilter::new().with_id(id))?;
                    dispatcher.cancel(&one).await
                }
            }
            .map_err(Refused::Outbox)?;
        }
    } else if query.get("all") == Some("1") {
        let filter = action.narrowed(query.filter(dispatcher).await?)?;
        number = match action {
            Action::Redeliver => dispatcher.redeliver_all(&filter).await,
            Action::Cancel => dispatcher.cancel(&filter).await,
        }
        .map_err(Refused::Outbox)?;
    } else {
        return Err(Refused::Bad("neither ids nor all=1"));
    }
    Ok(json!({ "number": number }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_origin_is_the_same() {
        for (headers, uri, is_same) in [
            (&[("sec-fetch-site", "same-origin")][..], "/", true),
            (&[("sec-fetch-site", "same-site")], "/", false),
            (&[("sec-fetch-site", "none")], "/", false),
            (
                &[
                    ("sec-fetch-site", "cross-site"),
                    ("origin", "https://a.example"),
                    ("host", "a.example"),
                ],
                "/",
                false,
            ),
            (
                &[("origin", "https://a.example"), ("host", "A.example")],
                "/",
                true,
            ),
            (
                &[("origin", "https://a.example")],
                "https://a.example/",
                true,
            ),
            (
                &[("origin", "https://a.example"), ("host", "a.example:8443")],
                "/",
                false,
            ),
            (
                &[("origin", "https://b.example"), ("host", "a.example")],
                "/",
                false,
            ),
            (&[("origin", "null"), ("host", "null")], "/", false),
            (&[("host", "a.example")], "/", false),
            (&[], "/", false),
        ] {
            let of_headers = headers.iter().map(|(name, value)| {
                (
                    name.parse::<http::HeaderName>().unwrap(),
                    value.parse().unwrap(),
                )
            });
            let uri = uri.parse().unwrap();
            assert_eq!(
                is_same_origin(&of_headers.collect(), &uri),
                is_same,
                "{headers:?}"
            );
        }
    }
}
