#![doc = include_str!("../README.md")]

mod admission;
mod attempt;
mod body;
mod body_type;
mod brand;
mod capture;
mod config;
mod delivery;
mod detach;
mod dispatch;
mod durability;
mod endpoint;
mod event;
mod future;
mod layer;
pub mod outbox;
mod payload;
mod per_host;
mod problem;
mod request;
mod request_id;
mod secret;
mod service;
mod signature;
mod sync;
mod ticket;
mod verify;
mod wire;

pub use self::{
    attempt::{InvalidCertificate, Resolve, Resolving},
    body::ResponseBody,
    body_type::{BodyType, Kept, Wrapped},
    brand::{Brand, InvalidBrand},
    delivery::{Delivery, DeliveryParts},
    dispatch::{Dispatcher, DispatcherBuilder, RetryPolicy, Shutdown},
    endpoint::{Endpoint, EndpointError, EndpointErrorKind, EndpointPolicy, Host},
    event::{AttemptError, Counts, Event, EventKind, FailReason, Outcome, Refusal},
    future::ResponseFuture,
    layer::WebhookLayer,
    payload::Payload,
    request_id::RequestId,
    secret::{InvalidSecret, Secret},
    service::Webhook,
    verify::{Verified, Verifier, VerifyError, VerifyErrorKind},
};

/// An error of somebody else's.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
