//! What has become of a call, for whoever made it: a service that the operator mounts.
//!
//! A call that named an endpoint can be looked up by its run id, which is the call's `X-Request-Id`, in
//! the 202 it got, and on each of its deliveries. For calls with a 202 there is something from the
//! beginning on; for others, from when their response was complete. What the outbox keeps no more is not
//! there any more: see its history ([`MemoryOutbox`](crate::outbox::MemoryOutbox::with_max_history)).
//!
//! | `GET` | answer |
//! | --- | --- |
//! | `…/{run_id}` | 200, and where the call stands |
//! | `…/{run_id}/result` | 200, and the bytes that the endpoint gets, while they are kept |
//! | the same, while the call runs | 202, and where the call stands; `Retry-After: 1` |
//! | the same, once the bytes are kept no more | 404 |
//! | whatever nobody knows, or this caller may not see | 404, the same for both |
//!
//! Where it stands:
//!
//! ```json
//! {"run_id":"…","state":"waiting","response_status":200,"attempts":[
//!   {"attempt":1,"at":"2026-01-31T12:00:00.000Z","took_ms":12,"status":503},
//!   {"attempt":2,"at":"2026-01-31T12:00:04.000Z","took_ms":15000,"error":"timed-out"}]}
//! ```
//!
//! `state` is the [name](crate::outbox::DeliveryState::name) of a state, `error` that of an
//! [`AttemptError`](crate::event::AttemptError::name). `response_status` is missing where there is no
//! response, and `failure`, the [name](crate::event::FailReason::name) of a reason, is there where there
//! never will be one. No address and no answer of the receiver is in it.
//!
//! The result has the headers of the response that travel with a delivery, such as its `Content-Type`, and
//! `X-Webhook-Response-Status` or `X-Webhook-Failure` as the delivery has them.
//!
//! # Without an endpoint
//!
//! Where the layer knows where the status is, a call that asks for a 202 need not name an endpoint. Its
//! result is kept as it would be delivered, `state` becomes `delivered` with no attempts, and whoever made
//! it asks until then. That takes an outbox that keeps payloads
//! ([`with_history_payloads`](crate::outbox::MemoryOutbox::with_history_payloads)): without them there is a
//! state, and no result.
//!
//! # Who may look
//!
//! Whoever brings the call's own `X-Webhook-Secret`, or passes the operator's
//! [check](Status::with_access). An id alone opens nothing. Where several calls had the same id, it is the
//! newest that whoever asks may see.
//!
//! All refusals are alike, also in the time that they take: they are given 50 ms after the question, or at
//! a multiple of that.
//!
//! # Where to put it
//!
//! Anywhere, under a path of its own; of the path only the last segments are read, so that it can be nested
//! or not. Outside of the [`WebhookLayer`](crate::WebhookLayer), as it serves no calls. Tell the layer
//! where it is, and a 202 says so
//! ([`with_status_location`](crate::WebhookLayer::with_status_location)).
//!
//! ```
//! use axum::{Router, routing::post};
//! use tower_webhook::{Dispatcher, WebhookLayer, outbox::MemoryOutbox, status};
//!
//! let outbox = MemoryOutbox::new().with_history_payloads();
//! let dispatcher = Dispatcher::builder().with_outbox(outbox).build();
//! let layer = WebhookLayer::new()
//!     .with_dispatcher(dispatcher.clone())
//!     .with_async_requests()
//!     .with_status_location("/webhooks");
//! let app: Router = Router::new()
//!     .route("/run", post(|| async { "done" }))
//!     .layer(layer)
//!     .nest_service("/webhooks", status(&dispatcher));
//! ```
//!
//! With callers whom the operator knows by other means:
//!
//! ```
//! # use tower_webhook::{Dispatcher, status};
//! # let dispatcher = Dispatcher::new();
//! #[derive(Clone)]
//! struct IsOperator;
//!
//! // A layer around it has put it there.
//! let status = status(&dispatcher)
//!     .with_access(|request, _call| request.extensions.get::<IsOperator>().is_some());
//! ```

mod answer;
mod service;
mod text;

pub use self::service::{Status, StatusFuture, status};
