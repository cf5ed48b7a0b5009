//! One signed delivery, in both header forms.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};
use tower_webhook::{
    Verifier,
    verify::{VerifiedWebhook, VerifyErrorKind},
};

pub(crate) const SECRET: &str = "a-value-of-your-choice";
pub(crate) const ID: &str = "52eda406-b81b-43f5-8deb-fcf80dfb74b0";
pub(crate) const SENT: u64 = 1_700_000_000;
pub(crate) const BODY: &[u8] = br#"{"smile": "wave"}"#;
pub(crate) const HEX: &str = "v1,cb3ddc493433f67977faaa07a3e978bcd988b64bc87dd0ef56b4643a67f6f09d";
pub(crate) const BASE64: &str = "v1,yz3cSTQz9nl3+qoHo+l4vNmItkvIfdDvVrRkOmf28J0=";
/// Well-formed, and of no delivery.
pub(crate) const OTHER: &str = "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

pub(crate) const BRANDED: [&str; 3] = [
    "x-request-id",
    "x-cerebrium-webhook-timestamp",
    "x-cerebrium-webhook-signature",
];
pub(crate) const STANDARD: [&str; 3] = ["webhook-id", "webhook-timestamp", "webhook-signature"];

/// Both forms of one delivery: the names and the good values.
pub(crate) const FORMS: [([&str; 3], [&str; 3]); 2] = [
    (BRANDED, [ID, "1700000000", HEX]),
    (STANDARD, [ID, "1700000000", BASE64]),
];

pub(crate) fn headers<'a>(of: impl IntoIterator<Item = (&'static str, &'a str)>) -> HeaderMap {
    let value = |text: &str| HeaderValue::from_bytes(text.as_bytes()).unwrap();
    of.into_iter()
        .map(|(name, text)| (HeaderName::from_static(name), value(text)))
        .collect()
}

pub(crate) fn good(form: usize) -> HeaderMap {
    headers(FORMS[form].0.into_iter().zip(FORMS[form].1))
}

pub(crate) fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

pub(crate) fn judge(headers: &HeaderMap) -> Result<VerifiedWebhook, VerifyErrorKind> {
    Verifier::new(SECRET)
        .verify_at(headers, BODY, at(SENT))
        .map_err(|error| error.kind())
}
