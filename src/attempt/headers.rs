use http::{
    HeaderMap, HeaderValue,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT},
};

use super::FixedHeaders;
use crate::delivery::{
    Brand,
    wire::{
        ATTEMPT, LOOP_MARK, OUR_USER_AGENT, REQUEST_ID, RESPONSE_STATUS, WEBHOOK_ID,
        WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP,
    },
};

/// The headers of every attempt, assembled once for each kind of attempt.
pub(super) struct Headers([Template; 4]);

/// Which headers an attempt has.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub(super) signed: bool,
    /// With the response's `Content-Type`.
    pub(super) typed: bool,
}

/// Each attempt copies it and fills in its own values, without looking up a header name again.
pub(super) struct Template {
    headers: HeaderMap,
    /// What each value is, in the order of `headers`. A copy of a map keeps its order, and
    /// [`with`](Self::with) relies on that.
    fields: Vec<Field>,
}

/// What the value of a header is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Host,
    RequestId,
    DeliveryId,
    ContentLength,
    /// The one response header that most deliveries have.
    ContentType,
    Attempt,
    Status,
    Timestamp,
    BrandedSignature,
    StandardSignature,
    /// The same in every attempt.
    Fixed(&'static HeaderValue),
    /// The same in every attempt, as the operator has set it.
    OfOperator,
}

static LOOP: HeaderValue = HeaderValue::from_static("1");
static AGENT: HeaderValue = OUR_USER_AGENT;

impl Headers {
    /// `standard` adds the Standard Webhooks headers, and `host` the `Host` header. With a key of the
    /// service's own, `keyed`, they have a signature also where there is no secret.
    pub(super) fn new(
        brand: &Brand,
        standard: bool,
        keyed: bool,
        host: bool,
        fixed: &FixedHeaders,
    ) -> Self {
        let template = |kind| Template::new(brand, standard, keyed, host, fixed, kind);
        Self(Kind::ALL.map(template))
    }

    pub(super) fn of(&self, kind: Kind) -> &Template {
        &self.0[kind.place()]
    }
}

impl Kind {
    const ALL: [Self; 4] = [
        Self::of(false, false),
        Self::of(false, true),
        Self::of(true, false),
        Self::of(true, true),
    ];

    const fn of(signed: bool, typed: bool) -> Self {
        Self { signed, typed }
    }

    /// Its index in [`ALL`](Self::ALL).
    fn place(self) -> usize {
        usize::from(self.signed) * 2 + usize::from(self.typed)
    }
}

impl Template {
    fn new(
        brand: &Brand,
        standard: bool,
        keyed: bool,
        host: bool,
        fixed: &FixedHeaders,
        Kind { signed, typed }: Kind,
    ) -> Self {
        let all = [
            (host, HOST, Field::Host),
            (true, REQUEST_ID.clone(), Field::RequestId),
            (true, CONTENT_LENGTH, Field::ContentLength),
            (typed, CONTENT_TYPE, Field::ContentType),
            (true, USER_AGENT, Field::Fixed(&AGENT)),
            (true, LOOP_MARK.clone(), Field::Fixed(&LOOP)),
            (true, ATTEMPT, Field::Attempt),
            (true, RESPONSE_STATUS, Field::Status),
            (true, brand.timestamp().clone(), Field::Timestamp),
            (standard, WEBHOOK_ID.clone(), Field::DeliveryId),
            (standard, WEBHOOK_TIMESTAMP.clone(), Field::Timestamp),
            (signed, brand.signature().clone(), Field::BrandedSignature),
            (
                standard && (signed || keyed),
                WEBHOOK_SIGNATURE.clone(),
                Field::StandardSignature,
            ),
        ];
        let chosen = all.into_iter().filter(|(chosen, ..)| *chosen);
        let fields: HeaderMap<Field> = chosen.map(|(_, name, field)| (name, field)).collect();
        // With capacity for one more: hyper looks up `Content-Length` as if to insert it, and a
        // full map grows for that.
        let mut headers = HeaderMap::with_capacity(fields.len() + fixed.len() + 1);
        headers.extend(
            fields
                .iter()
                .map(|(name, field)| (name.clone(), field.fixed())),
        );
        headers.extend(fixed.iter().cloned());
        let field_of = |name| fields.get(name).copied().unwrap_or(Field::OfOperator);
        Self {
            // A name that is there twice has two values.
            fields: headers.iter().map(|(name, _)| field_of(name)).collect(),
            headers,
        }
    }

    /// A copy with these values. `value` must return one for each field that is not fixed.
    pub(super) fn with(&self, mut value: impl FnMut(Field) -> Option<HeaderValue>) -> HeaderMap {
        let mut headers = self.headers.clone();
        for (&field, place) in self.fields.iter().zip(headers.values_mut()) {
            if let Field::Fixed(_) | Field::OfOperator = field {
                continue;
            }
            let value = value(field);
            debug_assert!(value.is_some(), "{field:?}");
            if let Some(value) = value {
                *place = value;
            }
        }
        headers
    }
}

impl Field {
    fn fixed(self) -> HeaderValue {
        match self {
            Self::Fixed(value) => value.clone(),
            _ => HeaderValue::from_static(""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the headers of this kind, and returns how many there are.
    fn number(standard: bool, keyed: bool, host: bool, kind: Kind) -> usize {
        let mut fixed = FixedHeaders::default();
        for (name, value) in [("x-first", "a"), ("x-second", "b"), ("x-first", "c")] {
            let (name, value) = (name.parse().unwrap(), value.parse().unwrap());
            fixed.add(name, value).unwrap();
        }
        let headers = Headers::new(&Brand::default(), standard, keyed, host, &fixed);
        let headers = headers
            .of(kind)
            .with(|field| HeaderValue::from_str(&format!("{field:?}")).ok());
        let Kind { signed, typed } = kind;
        for (name, field, given) in [
            ("host", "Host", host),
            ("x-request-id", "RequestId", true),
            ("content-length", "ContentLength", true),
            ("content-type", "ContentType", typed),
            ("x-webhook-attempt", "Attempt", true),
            ("x-webhook-response-status", "Status", true),
            ("x-cerebrium-webhook-timestamp", "Timestamp", true),
            ("x-webhook-loop", "1", true),
            ("webhook-id", "DeliveryId", standard),
            ("webhook-timestamp", "Timestamp", standard),
            (
                "webhook-signature",
                "StandardSignature",
                standard && (signed || keyed),
            ),
            ("x-cerebrium-webhook-signature", "BrandedSignature", signed),
        ] {
            let value = headers.get(name).map(|value| value.to_str().unwrap());
            assert_eq!(value, given.then_some(field), "{name}");
        }
        let first: Vec<_> = headers.get_all("x-first").iter().collect();
        assert_eq!(first, ["a", "c"]);
        assert_eq!(headers["x-second"], "b");
        headers.len() - 3
    }

    #[test]
    fn each_kind_has_its_headers_and_each_value_is_in_its_place() {
        for (typed, more) in [(true, 1), (false, 0)] {
            let [signed, unsigned] = [true, false].map(|signed| Kind { signed, typed });
            assert_eq!(number(true, false, true, signed), 12 + more);
            assert_eq!(number(true, true, true, signed), 12 + more);
            assert_eq!(number(true, true, true, unsigned), 11 + more);
            assert_eq!(number(true, false, true, unsigned), 10 + more);
            assert_eq!(number(false, false, true, signed), 9 + more);
            assert_eq!(number(false, false, false, unsigned), 7 + more);
        }
    }
}
