use std::ops::RangeInclusive;

use http::Method;
use serde_json::{Map, Value, json};

use super::{
    document::{Document, object},
    error::OpenApiError,
    media,
    operation::Operation,
    wire::Wire,
};

/// What the responses of an operation are, as far as they are forwarded.
pub(super) struct Forwarded {
    /// Each status with the description of its response. A range is as OpenAPI writes it: `4XX`.
    pub(super) statuses: Vec<(String, String)>,
    pub(super) content: Map<String, Value>,
    /// Whether one of them has no body.
    pub(super) may_be_empty: bool,
}

/// What comes before a response, and an upgrade, are never forwarded.
const FIRST_FORWARDED: u16 = 200;

impl Forwarded {
    /// `None` where all that the operation has is an upgrade: its calls are never a webhook.
    pub(super) fn read<'a>(
        document: &Document<'a>,
        wire: &Wire,
        operation: &Operation<'a>,
        responses: Option<&'a Map<String, Value>>,
    ) -> Result<Option<Self>, OpenApiError> {
        let mut forwarded = Self {
            statuses: Vec::new(),
            content: Map::new(),
            may_be_empty: false,
        };
        let responses = responses.into_iter().flatten();
        let responses: Vec<_> = responses
            .filter_map(|(key, response)| Some((key, statuses_of(key)?, response)))
            .collect();
        if responses.is_empty() {
            // Nothing is said of them: they can be anything.
            forwarded.add_anything();
            return Ok(Some(forwarded));
        }
        let is_upgrade = |statuses: &RangeInclusive<u16>| *statuses.end() < FIRST_FORWARDED;
        if responses.iter().all(|(_, given, _)| is_upgrade(given)) {
            return Ok(None);
        }
        for (key, mut statuses, response) in responses {
            let is_empty =
                operation.method == Method::HEAD || statuses.clone().all(is_without_body);
            if !statuses.any(|status| status >= FIRST_FORWARDED && wire.forwards(status)) {
                continue;
            }
            let place = format!("{}/responses/{key}", operation.place);
            let response = document.response(response, &place)?;
            forwarded.add(key, response.as_ref(), is_empty, &place)?;
        }
        Ok(Some(forwarded))
    }

    /// `response` is `None` where it is described in another document.
    fn add(
        &mut self,
        key: &str,
        response: Option<&Map<String, Value>>,
        is_empty: bool,
        place: &str,
    ) -> Result<(), OpenApiError> {
        let description = response.and_then(|response| response.get("description")?.as_str());
        let description = description.unwrap_or_default().to_owned();
        self.statuses.push((key.to_owned(), description));
        let Some(response) = response.filter(|_| !is_empty) else {
            match is_empty {
                true => self.may_be_empty = true,
                false => self.add_anything(),
            }
            return Ok(());
        };
        let content = response.get("content");
        let content = content.map(|content| object(content, &format!("{place}/content")));
        match content.transpose()? {
            Some(content) if !content.is_empty() => {
                for (media_type, body) in content {
                    media::unite(&mut self.content, media_type, body);
                }
            }
            _ => self.may_be_empty = true,
        }
        Ok(())
    }

    fn add_anything(&mut self) {
        self.may_be_empty = true;
        self.content.insert("*/*".to_owned(), json!({}));
    }
}

/// The statuses that a key of `responses` stands for.
pub(super) fn statuses_of(key: &str) -> Option<RangeInclusive<u16>> {
    let class = |class: u16| class * 100..=class * 100 + 99;
    match key.as_bytes() {
        b"default" => Some(100..=599),
        [digit @ b'1'..=b'5', b'X', b'X'] => Some(class(u16::from(digit - b'0'))),
        [b'1'..=b'5', b'0'..=b'9', b'0'..=b'9'] => {
            let status = key.parse().ok()?;
            Some(status..=status)
        }
        _ => None,
    }
}

fn is_without_body(status: u16) -> bool {
    matches!(status, 204 | 304)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stands_for_statuses() {
        assert_eq!(statuses_of("200"), Some(200..=200));
        assert_eq!(statuses_of("4XX"), Some(400..=499));
        assert_eq!(statuses_of("default"), Some(100..=599));
        for key in ["x-note", "", "20", "600", "2xx", "2000", "NXX", "099"] {
            assert_eq!(statuses_of(key), None, "{key}");
        }
    }
}
