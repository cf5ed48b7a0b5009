//! A Tower layer that calls back.
#![forbid(unsafe_code)]

mod brand;
mod secret;

pub use brand::{Brand, InvalidBrand};
pub use secret::{InvalidSecret, Secret};
