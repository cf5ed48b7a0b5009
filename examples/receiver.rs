//! A service behind a webhook endpoint: it verifies what comes before it believes it.
//!
//! ```sh
//! WEBHOOK_SECRET=a-value-of-your-choice cargo run --example receiver -- 127.0.0.1:9000
//! ```
//!
//! The secret is the one that the calls bring in `X-Webhook-Secret`. A delivery that is genuine
//! is answered with 204, also when it comes again, and any other with 401.
//!
//! # The same check in Python
//!
//! Give it the body as it came, never one that was parsed and written again. With nothing but
//! the standard library:
//!
//! ```python
//! import base64, hashlib, hmac, time
//!
//! def verify(headers, body: bytes, secret: str) -> str:  # names of headers have no case
//!     """The id of a genuine delivery: remember it. Anything else raises."""
//!     id, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
//!     signed = f"{id}.{timestamp}.".encode() + body
//!     mac = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
//!     expected = b"v1," + base64.b64encode(mac)
//!     given = headers["webhook-signature"].encode().split(b" ")
//!     if not any(hmac.compare_digest(expected, one) for one in given):
//!         raise ValueError("the signature does not match")
//!     if abs(time.time() - int(timestamp)) > 300:
//!         raise ValueError("the timestamp is too old, or to come")
//!     return id
//! ```
//!
//! `webhook-id` is the delivery's own. `X-Request-Id`, which Cerebrium's form signs, is the caller's,
//! who may use one for several calls: whoever remembers that one drops the second webhook.
//!
//! With the `standardwebhooks` package, or that library in another language:
//!
//! ```python
//! import base64
//! from standardwebhooks import Webhook
//!
//! key = "whsec_" + base64.b64encode(secret.encode()).decode()
//! Webhook(key).verify(body.decode(), headers)  # raises WebhookVerificationError
//! ```
//!
//! A secret that is itself `whsec_` and base64 is such a key already: this form is signed with what it
//! encodes, and Cerebrium's form with its text.
//!
//! The package's `verify` also parses the body as JSON, and raises for any other body: for those
//! take the function above.
//!
//! # By hand
//!
//! What the sender does, and so what a receiver does as well, in a shell:
//!
//! ```sh
//! secret=a-value-of-your-choice id=run-1 timestamp=$(date +%s) body='{"smile":"wave"}'
//!
//! mac=$(printf '%s.%s.%s' "$id" "$timestamp" "$body" | openssl dgst -sha256 -hmac "$secret" -r)
//!
//! curl -i http://127.0.0.1:9000/webhook --data-binary "$body" \
//!   -H "X-Request-Id: $id" \
//!   -H "X-Cerebrium-Webhook-Timestamp: $timestamp" \
//!   -H "X-Cerebrium-Webhook-Signature: v1,${mac%% *}"
//! ```

use std::{
    collections::HashSet,
    error::Error,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode},
    routing::post,
};
use tokio::net::TcpListener;
use tower_webhook::Verifier;

#[derive(Clone)]
struct Receiver {
    verifier: Verifier,
    /// In a real service: a column with a unique index, written in the transaction that does
    /// the work, so that neither is there without the other.
    seen: Arc<Mutex<HashSet<String>>>,
}

/// The body is taken as bytes: parsed and written again they would no longer match.
async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let verified = match receiver.verifier.verify(&headers, &body) {
        Ok(verified) => verified,
        Err(error) => {
            // For the log only: whoever guesses learns nothing from the answer.
            println!("refused: {error}");
            return StatusCode::UNAUTHORIZED;
        }
    };
    let id = verified.id();
    let is_new = receiver
        .seen
        .lock()
        .expect("nobody panics with it")
        .insert(id.to_owned());
    if is_new {
        println!("{id}, verified: {}", String::from_utf8_lossy(&body));
    } else {
        println!("{id}, verified: again, nothing to do");
    }
    StatusCode::NO_CONTENT
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let secret = std::env::var("WEBHOOK_SECRET").map_err(|_| "WEBHOOK_SECRET must be set")?;
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:9000");

    let receiver = Receiver {
        verifier: Verifier::new(secret),
        seen: Arc::default(),
    };
    let app = Router::new()
        .route("/webhook", post(receive))
        // As much as is forwarded by default: axum's own limit is lower.
        .layer(DefaultBodyLimit::max(4 << 20))
        .with_state(receiver);

    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}/webhook", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}
