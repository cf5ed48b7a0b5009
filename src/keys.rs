//! The service's public keys, for receivers: a service to be mounted.

use std::{
    convert::Infallible,
    fmt,
    future::{Ready, ready},
    task::{Context, Poll},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64_URL};
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH},
};
use sha2::{Digest, Sha256};
use tower_service::Service;

use crate::{
    delivery::{Payload, PublicKey},
    dispatch::Dispatcher,
};

/// A service that answers with the [public keys](Dispatcher::public_keys) of this dispatcher, as a set of
/// JSON Web Keys (RFC 7517, RFC 8037). `/.well-known/jwks.json` is where receivers look for it.
///
/// ```
/// use axum::Router;
/// use tower_webhook::{Dispatcher, delivery::SigningKey};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("signing.key");
/// let dispatcher = Dispatcher::builder()
///     .with_signing_key(SigningKey::from_file_or_new(path)?)
///     .build();
/// let app: Router =
///     Router::new().route_service("/.well-known/jwks.json", tower_webhook::keys(&dispatcher));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// It answers `GET` and `HEAD`, wherever it is mounted. Anybody may read it: there is nothing secret in it.
/// Mount it beside the [`WebhookLayer`](crate::WebhookLayer), not inside.
///
/// Receivers may keep an answer for an hour (`Cache-Control: public, max-age=3600`): that is how long a key
/// that was withdrawn is still believed, and how often at most a receiver asks. A rotation is seamless
/// where the [old key still signs](crate::dispatch::DispatcherBuilder::with_signing_key) for longer than
/// that.
#[must_use]
pub fn keys(dispatcher: &Dispatcher) -> Keys {
    Keys::new(&dispatcher.public_keys())
}

const JWK_SET: HeaderValue = HeaderValue::from_static("application/jwk-set+json");
const AN_HOUR: HeaderValue = HeaderValue::from_static("public, max-age=3600");
const ALLOWED: HeaderValue = HeaderValue::from_static("GET, HEAD");

/// The service that [`keys`] makes. Cheap to clone.
#[derive(Clone)]
pub struct Keys {
    set: Payload,
    etag: HeaderValue,
}

impl Keys {
    fn new(keys: &[PublicKey]) -> Self {
        let keys: Vec<_> = keys.iter().map(PublicKey::jwk).collect();
        let set = format!(r#"{{"keys":[{}]}}"#, keys.join(","));
        let etag = format!("\"{}\"", BASE64_URL.encode(Sha256::digest(&set)));
        Self {
            set: bytes::Bytes::from(set).into(),
            etag: HeaderValue::from_maybe_shared(bytes::Bytes::from(etag))
                .expect("base64 is visible ASCII"),
        }
    }

    /// The answer to such a request, without a service: for servers that are not made of them.
    #[must_use]
    pub fn answer(&self, method: &Method, headers: &HeaderMap) -> Response<Payload> {
        let is_head = method == Method::HEAD;
        if !is_head && method != Method::GET {
            let mut answer = answer(StatusCode::METHOD_NOT_ALLOWED);
            answer.headers_mut().insert(ALLOW, ALLOWED);
            return answer;
        }
        let mut answer = match self.is_known(headers) {
            true => answer(StatusCode::NOT_MODIFIED),
            false => {
                let mut answer = answer(StatusCode::OK);
                let length = self.set.len().into();
                answer.headers_mut().insert(CONTENT_LENGTH, length);
                answer.headers_mut().insert(CONTENT_TYPE, JWK_SET);
                if !is_head {
                    *answer.body_mut() = self.set.clone();
                }
                answer
            }
        };
        answer.headers_mut().insert(CACHE_CONTROL, AN_HOUR);
        answer.headers_mut().insert(ETAG, self.etag.clone());
        answer
    }

    /// Whether who asks has this very set already (RFC 9110, 13.1.2).
    fn is_known(&self, headers: &HeaderMap) -> bool {
        let lists = headers.get_all(IF_NONE_MATCH).iter();
        let mut tags = lists.flat_map(|list| list.as_bytes().split(|&byte| byte == b','));
        tags.any(|tag| {
            let tag = tag.trim_ascii();
            tag == b"*" || self.etag == tag.strip_prefix(b"W/").unwrap_or(tag)
        })
    }
}

fn answer(status: StatusCode) -> Response<Payload> {
    let mut answer = Response::new(Payload::default());
    *answer.status_mut() = status;
    answer
}

impl<B> Service<Request<B>> for Keys {
    type Response = Response<Payload>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Payload>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ready(Ok(self.answer(request.method(), request.headers())))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}
