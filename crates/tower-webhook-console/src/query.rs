use std::time::{Duration, SystemTime, UNIX_EPOCH};

use percent_encoding::percent_decode_str;
use tower_webhook::{
    DeliveryId, Dispatcher, RequestId,
    outbox::{DeliveryFilter, DeliveryState, Page},
};

use crate::answer::Refused;

/// On a page of the list, where the query names no number.
const PAGE: usize = 50;
/// The most on a page of the list, and the most that are named in one action.
pub(crate) const MOST: usize = 200;

/// The names and values in the query of a URL. Where a name is there twice, the first counts.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(query: &str) -> Self {
        let decode = |text: &str| {
            let spaced = text.replace('+', " ");
            percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
        };
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        Self(
            pairs
                .map(|(name, value)| (decode(name), decode(value)))
                .collect(),
        )
    }

    /// An empty value is none: a form sends those, too.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found
            .map(|(_, value)| value.trim())
            .filter(|value| !value.is_empty())
    }

    /// The deliveries that are named one by one.
    pub(crate) fn ids(&self) -> Result<Option<Vec<DeliveryId>>, Refused> {
        let Some(ids) = self.get("ids") else {
            return Ok(None);
        };
        let ids: Option<Vec<_>> = ids.split(',').map(DeliveryId::parse).collect();
        let ids = ids.ok_or(Refused::Bad("ids: not a list of delivery ids"))?;
        match ids.len() > MOST {
            true => Err(Refused::Bad("ids: too many at once")),
            false => Ok(Some(ids)),
        }
    }

    pub(crate) fn id(&self) -> Result<DeliveryId, Refused> {
        self.get("id")
            .and_then(DeliveryId::parse)
            .ok_or(Refused::Bad("id: not a delivery id"))
    }

    pub(crate) fn page(&self) -> Result<Page, Refused> {
        let limit = match self.get("limit").map(str::parse) {
            None => PAGE,
            Some(Ok(limit @ 1..=MOST)) => limit,
            Some(_) => return Err(Refused::Bad("limit: not a number from 1 to 200")),
        };
        let page = Page::first(limit);
        match self.get("before") {
            None => Ok(page),
            Some(id) => DeliveryId::parse(id)
                .map(|id| page.after(id))
                .ok_or(Refused::Bad("before: not a delivery id")),
        }
    }

    pub(crate) fn state(&self) -> Result<Option<DeliveryState>, Refused> {
        let Some(name) = self.get("state") else {
            return Ok(None);
        };
        let mut states = DeliveryState::ALL.iter().copied();
        let found = states.find(|state| state.name() == name);
        found
            .map(Some)
            .ok_or(Refused::Bad("state: there is no such state"))
    }

    /// All but the id, which may be one of two kinds.
    fn filter_without_id(&self, now: SystemTime) -> Result<DeliveryFilter, Refused> {
        let mut filter = DeliveryFilter::new();
        if let Some(state) = self.state()? {
            filter = filter.with_state(state);
        }
        if let Some(host) = self.get("host") {
            filter = filter.with_endpoint_host(host.trim_end_matches('.').to_ascii_lowercase());
        }
        let from = self.time("from", "from: not milliseconds since 1970")?;
        let last = self.get("last").map(|text| {
            let span = span(text).ok_or(Refused::Bad("last: not such as 15m, 24h or 7d"))?;
            now.checked_sub(span).ok_or(Refused::Bad("last: too long"))
        });
        if let Some(since) = from.max(last.transpose()?) {
            filter = filter.accepted_since(since);
        }
        if let Some(until) = self.time("to", "to: not milliseconds since 1970")? {
            filter = filter.accepted_before(until);
        }
        Ok(filter)
    }

    fn time(&self, name: &str, error: &'static str) -> Result<Option<SystemTime>, Refused> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let millis = text.parse().ok().map(Duration::from_millis);
        let time = millis.and_then(|since| UNIX_EPOCH.checked_add(since));
        time.map(Some).ok_or(Refused::Bad(error))
    }

    /// What the query lets through. An id is looked for as a delivery's first, then as a request's.
    pub(crate) async fn filter(&self, dispatcher: &Dispatcher) -> Result<DeliveryFilter, Refused> {
        let filter = self.filter_without_id(SystemTime::now())?;
        let Some(text) = self.get("id") else {
            return Ok(filter);
        };
        if let Some(id) = DeliveryId::parse(text) {
            let is_known = dispatcher.delivery(id).await.map(|found| found.is_some());
            if is_known.map_err(Refused::Outbox)? {
                return Ok(filter.with_id(id));
            }
        }
        RequestId::parse(text)
            .map(|id| filter.with_request_id(id))
            .ok_or(Refused::Bad("id: neither a delivery id nor a request id"))
    }
}

/// `15m`, `24h`, `7d`.
fn span(text: &str) -> Option<Duration> {
    let unit = text.chars().next_back()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    let number: u32 = text.strip_suffix(unit)?.parse().ok()?;
    Some(Duration::from_secs(u64::from(number) * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_empty_ones_are_none() {
        let query = Query::parse("host=a%2Eb&id=&state=+dead+&host=second&x");
        assert_eq!(query.get("host"), Some("a.b"));
        assert_eq!(query.get("id"), None);
        assert_eq!(query.state().unwrap(), Some(DeliveryState::Dead));
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        let now = SystemTime::now();
        for query in [
            "state=lost",
            "last=1y",
            "last=h",
            "last=é",
            "from=x",
            "to=-1",
        ] {
            let refused = Query::parse(query).filter_without_id(now);
            assert!(matches!(refused, Err(Refused::Bad(_))), "{query}");
        }
        for query in ["limit=0", "limit=201", "limit=x", "before=x"] {
            assert!(Query::parse(query).page().is_err(), "{query}");
        }
    }

    #[test]
    fn the_later_of_two_beginnings_counts() {
        let now = UNIX_EPOCH + Duration::from_secs(10_000);
        let since = |query| Query::parse(query).filter_without_id(now).unwrap().since();
        let at = |seconds| Some(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(since("last=1h"), at(6_400));
        assert_eq!(since("last=1h&from=8000000"), at(8_000));
        assert_eq!(since("last=1h&from=1000"), at(6_400));
    }

    #[test]
    fn a_host_is_looked_for_as_it_is_kept() {
        let filter = Query::parse("host=Hooks.Example.COM.").filter_without_id(UNIX_EPOCH);
        assert_eq!(filter.unwrap().endpoint_host(), Some("hooks.example.com"));
    }
}
