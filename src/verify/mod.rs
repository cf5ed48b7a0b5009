//! For receivers: verifies the signature of a delivery.

use std::time::{Duration, SystemTime};

use http::HeaderMap;

use self::claim::{Claim, Form};
pub use self::error::{VerifyError, VerifyErrorKind};
use crate::delivery::{Brand, InvalidSecret, PublicKey, Secret, signature};

mod claim;
mod error;

const DEFAULT_TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// Verifies deliveries: for the service behind a webhook endpoint.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use http::HeaderMap;
/// use tower_webhook::{Verifier, verify::VerifyErrorKind};
///
/// let mut headers = HeaderMap::new();
/// let mut header = |name, value: &str| headers.insert(name, value.parse().unwrap());
/// header("x-request-id", "52eda406-b81b-43f5-8deb-fcf80dfb74b0");
/// header("x-cerebrium-webhook-timestamp", "1700000000");
/// header(
///     "x-cerebrium-webhook-signature",
///     "v1,cb3ddc493433f67977faaa07a3e978bcd988b64bc87dd0ef56b4643a67f6f09d",
/// );
/// let body = br#"{"smile": "wave"}"#;
///
/// let verifier = Verifier::new("a-value-of-your-choice");
///
/// // `verify` would take the time from the system clock.
/// let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_002);
/// let verified = verifier.verify_at(&headers, body, now)?;
/// assert_eq!(verified.id(), "52eda406-b81b-43f5-8deb-fcf80dfb74b0");
///
/// let error = verifier.verify(&headers, body).unwrap_err();
/// assert_eq!(error.kind(), VerifyErrorKind::TimestampTooOld);
/// # Ok::<(), tower_webhook::verify::VerifyError>(())
/// ```
///
/// With two secrets during a rotation, another brand, and a smaller tolerance:
///
/// ```
/// # use std::time::Duration;
/// # use tower_webhook::{Verifier, delivery::Brand};
/// let verifier = Verifier::from_standard_secret("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")?
///     .with_secret("the-one-before")
///     .with_brand(Brand::new("Acme")?)
///     .with_tolerance(Duration::from_secs(60));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What to do with a delivery
///
/// - Verify the body's bytes as they arrived, before anything parses them. With
///   axum, extract [`Bytes`](bytes::Bytes), not `Json<T>`:
///
///   ```
///   # use axum::{Router, body::Bytes, extract::State, http::{HeaderMap, StatusCode}, routing::post};
///   # use tower_webhook::Verifier;
///   async fn receive(
///       State(verifier): State<Verifier>,
///       headers: HeaderMap,
///       body: Bytes,
///   ) -> StatusCode {
///       let Ok(verified) = verifier.verify(&headers, &body) else {
///           return StatusCode::BAD_REQUEST;
///       };
///       println!("{}: {} bytes", verified.id(), body.len());
///       StatusCode::NO_CONTENT
///   }
///
///   let app: Router = Router::new()
///       .route("/webhook", post(receive))
///       .with_state(Verifier::new("a-value-of-your-choice"));
///   ```
///
/// - Use [`VerifiedWebhook::id`], not a header, to recognise duplicates: a webhook
///   is delivered at least once, and within the tolerance an eavesdropper can
///   replay one.
/// - Trust nothing else in the request. Only the id, the timestamp and the body
///   are signed: `Content-Type`, `X-Webhook-Attempt` and
///   `X-Webhook-Response-Status` are not.
///
/// - A large body takes time, about a millisecond a MiB, and the same again for
///   each further secret, and for each public key and `v1a` signature, of which
///   it tries eight at most. It is hashed where [`verify`](Self::verify) is called, without a pause. In
///   an asynchronous service that takes bodies of several MiB, call it inside
///   `tokio::task::spawn_blocking`.
///
/// # The two header forms
///
/// | form | id | timestamp | signature |
/// | --- | --- | --- | --- |
/// | Standard Webhooks | `webhook-id` | `webhook-timestamp` | `webhook-signature`: one or more, separated by spaces, each `v1,` (of a secret) or `v1a,` (of a key of the sender's own, feature `ed25519`) followed by base64; other versions are ignored |
/// | branded | `X-Request-Id` | `X-Cerebrium-Webhook-Timestamp` | `X-Cerebrium-Webhook-Signature`: `v1,` followed by lower-case hex |
///
/// A request with a `webhook-signature` header is judged by the Standard
/// Webhooks headers alone, any other request by the branded ones alone. The two
/// are never combined, and there is no fallback from one to the other. Both use
/// the same MAC, with the same key or the text that encodes it, so neither is
/// weaker. The Standard Webhooks form goes first because proxies rewrite
/// `X-Request-Id`.
#[derive(Clone, Debug)]
pub struct Verifier {
    /// The keys of the Standard Webhooks form.
    standard: Vec<Secret>,
    /// Those of the branded form, which are others where a secret is in the Standard Webhooks format.
    branded: Vec<Secret>,
    public_keys: Vec<PublicKey>,
    tolerance: Duration,
    brand: Brand,
}

impl Verifier {
    /// A verifier for deliveries signed with this secret, given as the raw
    /// bytes of the `X-Webhook-Secret` header.
    ///
    /// Where that is itself in the Standard Webhooks format, the Standard
    /// Webhooks form is signed with the key that it encodes, and the branded
    /// form with its text.
    ///
    /// Anybody can sign with an empty secret, so it never matches.
    #[must_use]
    pub fn new(secret: impl AsRef<[u8]>) -> Self {
        Self::empty().with_secret(secret)
    }

    /// A verifier for deliveries signed with a secret in the Standard Webhooks
    /// format: `whsec_` followed by base64. It does not matter whether the
    /// caller sent that text in `X-Webhook-Secret`, or the bytes that it encodes.
    ///
    /// # Errors
    ///
    /// [`InvalidSecret`] if it is in another format, or empty.
    pub fn from_standard_secret(secret: &str) -> Result<Self, InvalidSecret> {
        Self::empty().with_standard_secret(secret)
    }

    /// A verifier for deliveries signed with the sender's own Ed25519 key, whether or not a secret signs
    /// them, too.
    ///
    /// ```
    /// use tower_webhook::{Verifier, delivery::PublicKey};
    ///
    /// let key: PublicKey = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=".parse()?;
    /// let verifier = Verifier::from_public_key(key);
    /// # Ok::<(), tower_webhook::delivery::InvalidPublicKey>(())
    /// ```
    #[cfg(feature = "ed25519")]
    #[must_use]
    pub fn from_public_key(key: PublicKey) -> Self {
        Self::empty().with_public_key(key)
    }

    /// Accepts nothing.
    fn empty() -> Self {
        Self {
            standard: Vec::new(),
            branded: Vec::new(),
            public_keys: Vec::new(),
            tolerance: DEFAULT_TOLERANCE,
            brand: Brand::default(),
        }
    }

    /// Accepts deliveries signed with this secret, too. To rotate secrets,
    /// accept both while deliveries signed with the old one may still arrive.
    #[must_use]
    pub fn with_secret(mut self, secret: impl AsRef<[u8]>) -> Self {
        let text = Secret::new(secret);
        let key = text.standard_key().unwrap_or_else(|| text.clone());
        self.standard.push(key);
        self.branded.push(text);
        self
    }

    /// [`with_secret`](Self::with_secret) for a secret in the Standard Webhooks
    /// format.
    ///
    /// # Errors
    ///
    /// [`InvalidSecret`] if it is in another format, or empty.
    pub fn with_standard_secret(mut self, secret: &str) -> Result<Self, InvalidSecret> {
        let key = Secret::from_standard(secret)?;
        self.standard.push(key.clone());
        self.branded.extend([Secret::new(secret), key]);
        Ok(self)
    }

    /// Accepts deliveries signed with the sender's own key, too, beside those signed with a secret or
    /// with another key. While the sender changes its key, accept both.
    ///
    /// One matching signature is enough: **whoever has a secret that is accepted needs no key**. A service
    /// that is to believe the key alone begins with [`from_public_key`](Self::from_public_key).
    #[cfg(feature = "ed25519")]
    #[must_use]
    pub fn with_public_key(mut self, key: PublicKey) -> Self {
        self.public_keys.push(key);
        self
    }

    /// How far the timestamp may be from now, in the past or in the future.
    /// Default: 5 minutes, as in the Standard Webhooks libraries.
    ///
    /// The timestamp is in whole seconds, rounded down by the sender.
    #[must_use]
    pub fn with_tolerance(mut self, tolerance: Duration) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// The brand in the header names. Default: `Cerebrium`.
    #[must_use]
    pub fn with_brand(mut self, brand: Brand) -> Self {
        self.brand = brand;
        self
    }

    /// Verifies a delivery that has just arrived.
    ///
    /// # Errors
    ///
    /// [`VerifyError`] if the delivery must not be trusted. Answer with a `4xx`,
    /// the same for every kind.
    pub fn verify(&self, headers: &HeaderMap, body: &[u8]) -> Result<VerifiedWebhook, VerifyError> {
        self.verify_at(headers, body, SystemTime::now())
    }

    /// Verifies a delivery that arrived at the given time.
    ///
    /// # Errors
    ///
    /// The same as [`verify`](Self::verify).
    pub fn verify_at(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: SystemTime,
    ) -> Result<VerifiedWebhook, VerifyError> {
        // Keys sign the Standard Webhooks form alone.
        let only_standard = self.branded.is_empty();
        let claim = Claim::read(headers, &self.brand, only_standard)?;
        let has_mac = !self.standard.is_empty() && claim.macs().next().is_some();
        let has_keyed = !self.public_keys.is_empty() && claim.keyed().next().is_some();
        if !has_mac && !has_keyed {
            return Err(VerifyErrorKind::MalformedHeader.into());
        }
        let timestamp = self.timely(claim.seconds, now)?;

        if !(has_mac && self.has_signed(&claim, body)
            || has_keyed && self.key_has_signed(&claim, body))
        {
            return Err(VerifyErrorKind::NoMatch.into());
        }
        Ok(VerifiedWebhook {
            id: claim.id.into(),
            timestamp,
        })
    }

    /// Whether one of the secrets has.
    fn has_signed(&self, claim: &Claim<'_>, body: &[u8]) -> bool {
        let usable = |secret: &&Secret| !secret.expose().is_empty();
        let matches = |secret: &Secret| {
            let mac = signature::sign(secret, claim.id.as_bytes(), claim.seconds, [body]);
            claim.macs().any(|claimed| mac.matches(claimed))
        };
        let secrets = match claim.form {
            Form::Standard => &self.standard,
            Form::Branded => &self.branded,
        };
        secrets.iter().filter(usable).any(matches)
    }

    /// Whether one of the public keys' owners has.
    fn key_has_signed(&self, claim: &Claim<'_>, body: &[u8]) -> bool {
        let head = signature::head(claim.id.as_bytes(), claim.seconds);
        let message = [&head[..], body];
        let mut claimed = claim.keyed();
        claimed.any(|claimed| {
            let mut keys = self.public_keys.iter();
            keys.any(|key| key.verifies(&message, &claimed))
        })
    }

    fn timely(&self, seconds: u64, now: SystemTime) -> Result<SystemTime, VerifyErrorKind> {
        let timestamp = SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_secs(seconds))
            .ok_or(VerifyErrorKind::TimestampInFuture)?;
        match now.duration_since(timestamp) {
            Ok(age) if age > self.tolerance => Err(VerifyErrorKind::TimestampTooOld),
            Err(early) if early.duration() > self.tolerance => {
                Err(VerifyErrorKind::TimestampInFuture)
            }
            _ => Ok(timestamp),
        }
    }
}

/// The parts of a delivery that its verified signature vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedWebhook {
    id: Box<str>,
    timestamp: SystemTime,
}

impl VerifiedWebhook {
    /// The signed id: the same in every attempt of this delivery.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// When this attempt was sent, in whole seconds.
    #[must_use]
    pub fn timestamp(&self) -> SystemTime {
        self.timestamp
    }
}
