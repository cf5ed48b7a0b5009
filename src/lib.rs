//! A Tower layer that calls back.
#![forbid(unsafe_code)]

mod secret;

pub use secret::{InvalidSecret, Secret};
