use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT},
};

use crate::{
    Brand,
    wire::{
        ATTEMPT, LOOP_MARK, OUR_USER_AGENT, REQUEST_ID, RESPONSE_STATUS, WEBHOOK_ID,
        WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP,
    },
};

/// The headers of every attempt, put together once: each attempt copies them and fills in what is
/// its own, without looking a name up again.
pub(super) struct Headers {
    template: HeaderMap,
    /// What the template's values are, in its order, which its copies share.
    fields: Vec<Field>,
}

/// What the value of a header is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Host,
    Id,
    ContentLength,
    /// Of the response's headers the one that most deliveries have.
    ContentType,
    Attempt,
    Status,
    Timestamp,
    BrandedSignature,
    StandardSignature,
    /// The same in every attempt.
    Fixed(&'static HeaderValue),
}

static LOOP: HeaderValue = HeaderValue::from_static("1");
static AGENT: HeaderValue = OUR_USER_AGENT;

impl Headers {
    pub(super) fn new(brand: &Brand, standard: bool, signed: bool) -> Self {
        let all = [
            (true, HOST, Field::Host),
            (true, REQUEST_ID.clone(), Field::Id),
            (true, CONTENT_LENGTH, Field::ContentLength),
            (true, CONTENT_TYPE, Field::ContentType),
            (true, USER_AGENT, Field::Fixed(&AGENT)),
            (true, LOOP_MARK.clone(), Field::Fixed(&LOOP)),
            (true, ATTEMPT, Field::Attempt),
            (true, RESPONSE_STATUS, Field::Status),
            (true, brand.timestamp().clone(), Field::Timestamp),
            (standard, WEBHOOK_ID.clone(), Field::Id),
            (standard, WEBHOOK_TIMESTAMP.clone(), Field::Timestamp),
            (signed, brand.signature().clone(), Field::BrandedSignature),
            (
                standard && signed,
                WEBHOOK_SIGNATURE.clone(),
                Field::StandardSignature,
            ),
        ];
        let chosen = all.into_iter().filter(|(chosen, ..)| *chosen);
        let fields: HeaderMap<Field> = chosen.map(|(_, name, field)| (name, field)).collect();
        let template: HeaderMap = fields
            .iter()
            .map(|(name, field)| (name.clone(), field.fixed()))
            .collect();
        Self {
            fields: template.keys().map(|name| fields[name]).collect(),
            template,
        }
    }

    /// A copy with these values; a header without a value is left out.
    pub(super) fn with(&self, mut value: impl FnMut(Field) -> Option<HeaderValue>) -> HeaderMap {
        let mut headers = self.template.clone();
        let mut missing: Vec<HeaderName> = Vec::new();
        for (&field, (name, place)) in self.fields.iter().zip(headers.iter_mut()) {
            if let Field::Fixed(_) = field {
                continue;
            }
            match value(field) {
                Some(value) => *place = value,
                None => missing.push(name.clone()),
            }
        }
        for name in missing {
            headers.remove(name);
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

    fn names(standard: bool, signed: bool) -> usize {
        let headers = Headers::new(&Brand::default(), standard, signed);
        let headers = headers.with(|field| HeaderValue::from_str(&format!("{field:?}")).ok());
        for (name, field) in [
            ("host", "Host"),
            ("x-request-id", "Id"),
            ("content-length", "ContentLength"),
            ("x-webhook-attempt", "Attempt"),
            ("x-webhook-response-status", "Status"),
            ("x-cerebrium-webhook-timestamp", "Timestamp"),
            ("x-webhook-loop", "1"),
        ] {
            assert_eq!(headers[name], field);
        }
        for (name, field, given) in [
            ("webhook-id", "Id", standard),
            ("webhook-timestamp", "Timestamp", standard),
            ("webhook-signature", "StandardSignature", standard && signed),
            ("x-cerebrium-webhook-signature", "BrandedSignature", signed),
        ] {
            let value = headers.get(name).map(|value| value.to_str().unwrap());
            assert_eq!(value, given.then_some(field), "{name}");
        }
        headers.len()
    }

    #[test]
    fn each_value_is_in_its_place() {
        assert_eq!(names(true, true), 13);
        assert_eq!(names(true, false), 11);
        assert_eq!(names(false, true), 10);
        assert_eq!(names(false, false), 9);
    }

    #[test]
    fn what_has_no_value_is_left_out() {
        let headers = Headers::new(&Brand::default(), true, true);
        let no_type = |field| (field != Field::ContentType).then(|| HeaderValue::from_static("x"));
        let headers = headers.with(no_type);
        assert!(!headers.contains_key(CONTENT_TYPE) && headers.len() == 12);
    }
}
