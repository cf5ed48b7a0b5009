#![doc = include_str!("../README.md")]

mod admission;
mod ask;
pub mod attempt;
pub mod delivery;
pub mod dispatch;
pub mod endpoint;
mod error;
pub mod event;
mod id;
#[cfg(any(feature = "ed25519", feature = "sealing"))]
mod key_file;
#[cfg(feature = "ed25519")]
pub mod keys;
pub mod layer;
#[cfg(feature = "openapi")]
pub mod openapi;
pub mod outbox;
mod response;
pub mod status;
mod sync;
#[cfg(feature = "testing")]
pub mod testing;
pub mod verify;

#[cfg(feature = "ed25519")]
pub use self::keys::keys;
pub use self::{
    delivery::{Delivery, Payload, Secret},
    dispatch::{Dispatcher, RetryPolicy},
    endpoint::EndpointPolicy,
    error::BoxError,
    event::{Event, EventKind},
    id::{DeliveryId, RequestId},
    layer::WebhookLayer,
    status::status,
    verify::Verifier,
};

/// The examples of the page for those who test their handlers.
#[cfg(doctest)]
#[doc = include_str!("../docs/testing.md")]
mod testing_your_handlers {}
