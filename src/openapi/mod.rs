//! OpenAPI: what the layer adds to an API, written into the document that describes the API.
//!
//! [`WebhookLayer::openapi`] describes a layer, and [`Description::patch`] writes that into a document: the
//! parameters and headers of a call, the layer's own answers, and the webhook as a callback of each
//! operation. The document is a [`serde_json::Value`], so it does not matter what has made it:
//!
//! ```
//! use serde_json::json;
//! use tower_webhook::WebhookLayer;
//!
//! // As of `serde_json::to_value` of what `utoipa` or `aide` has made.
//! let mut document = json!({
//!     "openapi": "3.1.0",
//!     "info": { "title": "Renderer", "version": "1.0.0" },
//!     "paths": { "/run": { "post": { "responses": {
//!         "200": { "description": "A picture", "content": { "image/png": {} } },
//!     } } } },
//! });
//! let layer = WebhookLayer::new();
//! layer.openapi().patch(&mut document)?;
//!
//! let run = &document["paths"]["/run"]["post"];
//! let delivery = &run["callbacks"]["webhook"]["{$request.query.webhookEndpoint}"]["post"];
//! assert!(delivery["requestBody"]["content"]["image/png"].is_object());
//! # Ok::<(), tower_webhook::openapi::OpenApiError>(())
//! ```
//!
//! Where the layer is around a part of the API only, its operations are chosen:
//!
//! ```
//! use http::Method;
//! use tower_webhook::WebhookLayer;
//!
//! # fn describe(mut document: serde_json::Value) -> Result<(), tower_webhook::openapi::OpenApiError> {
//! let description = WebhookLayer::new()
//!     .openapi()
//!     .with_operations(|method, path| *method == Method::POST && path.starts_with("/runs/"));
//! description.patch(&mut document)?;
//! # Ok(())
//! # }
//! ```
//!
//! The examples `openapi_utoipa` and `openapi_aide` in the repository are whole programs.

// What an operation gets is in `parameters`, `answers` (the layer's own), and `callback`, with `delivery`
// (what the endpoint gets) and `receipt` (what its answer leads to). `path_item` and `operation` go through
// what a document has, `responses` reads what is forwarded, `document` follows references and keeps
// components. The layer's settings are known to `wire` alone.
mod answers;
mod callback;
mod delivery;
mod document;
mod error;
mod media;
mod operation;
mod parameters;
mod path_item;
mod receipt;
mod responses;
mod wire;

use std::fmt;

use http::Method;
use serde_json::Value;

pub use self::error::{OpenApiError, OpenApiErrorKind};
use self::{document::Document, path_item::PathItem, wire::Wire};
use crate::layer::WebhookLayer;

/// What a [`WebhookLayer`] adds to an API, for its OpenAPI document: see
/// [`WebhookLayer::openapi`].
#[must_use = "a description does nothing until a document is patched"]
pub struct Description {
    wire: Wire,
    selects: Box<Selects>,
}

type Selects = dyn Fn(&Method, &str) -> bool + Send + Sync;

impl WebhookLayer {
    /// Describes this layer in an OpenAPI document, with all its settings and those of its dispatcher:
    /// names of parameters and headers, brand, forwarded statuses, retry policy.
    ///
    /// What is set afterwards is not in it.
    pub fn openapi(&self) -> Description {
        Description {
            wire: Wire::of(self),
            selects: Box::new(|_, _| true),
        }
    }
}

impl Description {
    /// Describes the operations only for which this is true. It is asked with the method and the path as
    /// the document has it: `/runs/{id}`. Default: all.
    ///
    /// `OPTIONS`, the document's `webhooks`, and operations that end in an upgrade (whose only response is
    /// 101) are left alone in any case.
    pub fn with_operations(
        mut self,
        selects: impl Fn(&Method, &str) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.selects = Box::new(selects);
        self
    }

    /// Writes what the layer adds into an OpenAPI 3.1 document.
    ///
    /// Each operation gets:
    ///
    /// | what | is |
    /// | --- | --- |
    /// | parameters | endpoint, secret, request id; `async` and `Prefer` where [asynchronous requests](WebhookLayer::with_async_requests) are on |
    /// | responses | 400, 503 and 508, as the layer answers itself: problem details (RFC 9457); 202 where asynchronous requests are on |
    /// | a callback, `webhook` | the POST to `{$request.query.webhookEndpoint}`: its headers, the bodies of all responses of the operation that are forwarded, failure notices, and what each answer of the endpoint leads to |
    ///
    /// What the document says already stays. A parameter of the same name is left as it is, and so is a
    /// callback to the same endpoint. A response with the same status is united with the layer's, and so
    /// is one for a range (`4XX`) or `default`, under the status. So a second time changes nothing.
    ///
    /// What is the same for all operations is in the document's `components`, under names that begin with
    /// `Webhook`. A path that is a reference to a path item is replaced with what it refers to. References
    /// into other documents are not followed: of such a response, anything can be the body. What an answer
    /// of the endpoint leads to is as the retry policy of [all
    /// hosts](crate::dispatch::DispatcherBuilder::with_retry_policy) has it, which is asked about every
    /// status.
    ///
    /// # Errors
    ///
    /// When it is no OpenAPI document, one of another version than 3.1 (3.0 too), one that does not have
    /// the types that OpenAPI says, or when a reference within it leads nowhere. The document is then as
    /// it was.
    pub fn patch(&self, document: &mut Value) -> Result<(), OpenApiError> {
        let patched = self.patched(document)?;
        *document = patched;
        Ok(())
    }

    fn patched(&self, source: &Value) -> Result<Value, OpenApiError> {
        let mut document = Document::read(source)?;
        let paths = document.paths()?;
        for (path, item) in paths.into_iter().flatten() {
            if !path.starts_with('/') {
                continue;
            }
            let Some(item) = PathItem::read(&document, path, item)? else {
                continue;
            };
            if let Some(item) = item.described(&mut document, &self.wire, &*self.selects)? {
                document.set_path_item(path, item);
            }
        }
        Ok(document.into_value())
    }
}

impl fmt::Debug for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Description")
            .field("wire", &self.wire)
            .finish_non_exhaustive()
    }
}
