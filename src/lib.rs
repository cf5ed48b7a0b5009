//! A Tower layer that calls back.
#![forbid(unsafe_code)]

mod endpoint;

pub use endpoint::{Endpoint, EndpointError, EndpointErrorKind, EndpointPolicy};
