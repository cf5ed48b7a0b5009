use std::time::{Duration, SystemTime};

use http::HeaderMap;

use self::claim::Claim;
pub use self::error::{VerifyError, VerifyErrorKind};
use crate::{
    brand::Brand,
    secret::{InvalidSecret, Secret},
    signature,
};

mod claim;
mod error;

const DEFAULT_TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// Verifies deliveries: for the service behind a webhook endpoint.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use http::HeaderMap;
/// use tower_webhook::{Verifier, VerifyErrorKind};
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
/// // `verify` takes the time from the system's clock.
/// let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_002);
/// let verified = verifier.verify_at(&headers, body, now)?;
/// assert_eq!(verified.id(), "52eda406-b81b-43f5-8deb-fcf80dfb74b0");
///
/// let error = verifier.verify(&headers, body).unwrap_err();
/// assert_eq!(error.kind(), VerifyErrorKind::TimestampTooOld);
/// # Ok::<(), tower_webhook::VerifyError>(())
/// ```
///
/// While secrets are being rotated, for another brand, with a stricter clock:
///
/// ```
/// # use std::time::Duration;
/// # use tower_webhook::{Brand, Verifier};
/// let verifier = Verifier::from_standard_secret("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")?
///     .with_secret("the-one-before")
///     .with_brand(Brand::new("Acme")?)
///     .with_tolerance(Duration::from_secs(60));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What to do with a delivery
///
/// - Verify the body's bytes as they came, before anything parses them. With
///   axum, take [`Bytes`](bytes::Bytes) and not `Json<T>`:
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
/// - Use [`Verified::id`], not a header, to recognise a delivery that comes a
///   second time: they are delivered at least once, and within the tolerance
///   an eavesdropper can send one again.
/// - Trust nothing else of the request. Only the id, the timestamp and the body
///   are signed: `Content-Type`, `X-Webhook-Attempt` and
///   `X-Webhook-Response-Status` are not.
///
/// # The two header forms
///
/// | form | id | timestamp | signature |
/// | --- | --- | --- | --- |
/// | Standard Webhooks | `webhook-id` | `webhook-timestamp` | `webhook-signature`: any of several, separated by spaces, each `v1,` and base64 |
/// | branded | `X-Request-Id` | `X-Cerebrium-Webhook-Timestamp` | `X-Cerebrium-Webhook-Signature`: `v1,` and lower-case hex |
///
/// A request with a `webhook-signature` header is judged by the Standard
/// Webhooks headers alone, any other by the branded ones alone. Parts of the
/// two are never combined, and there is no falling back from one to the other.
/// Both are the same MAC with the same key, so neither is the weaker; the
/// Standard Webhooks form goes first because proxies rewrite `X-Request-Id`.
#[derive(Clone, Debug)]
pub struct Verifier {
    secrets: Vec<Secret>,
    tolerance: Duration,
    brand: Brand,
}

impl Verifier {
    /// A verifier for deliveries signed with this secret, given as the raw
    /// bytes of the `X-Webhook-Secret` header.
    ///
    /// Anybody can sign with an empty secret, so it never matches.
    #[must_use]
    pub fn new(secret: impl AsRef<[u8]>) -> Self {
        Self::from_secret(Secret::new(secret))
    }

    /// A verifier for deliveries signed with a secret in Standard Webhooks
    /// spelling: `whsec_` and base64.
    ///
    /// # Errors
    ///
    /// [`InvalidSecret`] if it is spelled in another way, or empty.
    pub fn from_standard_secret(secret: &str) -> Result<Self, InvalidSecret> {
        Secret::from_standard(secret).map(Self::from_secret)
    }

    fn from_secret(secret: Secret) -> Self {
        Self {
            secrets: vec![secret],
            tolerance: DEFAULT_TOLERANCE,
            brand: Brand::default(),
        }
    }

    /// Accepts deliveries signed with this secret, too. For rotating secrets:
    /// accept both while deliveries with the old one may still arrive.
    #[must_use]
    pub fn with_secret(mut self, secret: impl AsRef<[u8]>) -> Self {
        self.secrets.push(Secret::new(secret));
        self
    }

    /// [`with_secret`](Self::with_secret) in Standard Webhooks spelling.
    ///
    /// # Errors
    ///
    /// [`InvalidSecret`] if it is spelled in another way, or empty.
    pub fn with_standard_secret(mut self, secret: &str) -> Result<Self, InvalidSecret> {
        self.secrets.push(Secret::from_standard(secret)?);
        Ok(self)
    }

    /// How far the timestamp may be from now, into the past and into the
    /// future alike. Default: 5 minutes, as in the Standard Webhooks libraries.
    ///
    /// The timestamp is in whole seconds, rounded down by the sender.
    #[must_use]
    pub fn with_tolerance(mut self, tolerance: Duration) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// The brand in the names of the headers. Default: `Cerebrium`.
    #[must_use]
    pub fn with_brand(mut self, brand: Brand) -> Self {
        self.brand = brand;
        self
    }

    /// Verifies a delivery that has arrived just now.
    ///
    /// # Errors
    ///
    /// [`VerifyError`] if the delivery must not be trusted. The answer then is
    /// a `4xx`; answer all kinds alike.
    pub fn verify(&self, headers: &HeaderMap, body: &[u8]) -> Result<Verified, VerifyError> {
        self.verify_at(headers, body, SystemTime::now())
    }

    /// Verifies a delivery that arrived at the given time.
    ///
    /// # Errors
    ///
    /// As [`verify`](Self::verify).
    pub fn verify_at(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: SystemTime,
    ) -> Result<Verified, VerifyError> {
        let claim = Claim::read(headers, &self.brand)?;
        let timestamp = self.timely(claim.seconds, now)?;

        let usable = |secret: &&Secret| !secret.expose().is_empty();
        let matches = |secret: &Secret| {
            let mac = signature::sign(secret, claim.id.as_bytes(), claim.seconds, [body]);
            claim.macs().any(|claimed| mac.matches(claimed))
        };
        if !self.secrets.iter().filter(usable).any(matches) {
            return Err(VerifyErrorKind::NoMatch.into());
        }
        Ok(Verified {
            id: claim.id.into(),
            timestamp,
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

/// What is certain about a delivery once its signature has been verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    id: Box<str>,
    timestamp: SystemTime,
}

impl Verified {
    /// The id that was signed: the same each time this delivery is attempted.
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
