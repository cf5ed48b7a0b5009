//! A Tower layer that calls back.
#![forbid(unsafe_code)]

mod brand;
mod secret;
mod signature;
mod verify;

pub use brand::{Brand, InvalidBrand};
pub use secret::{InvalidSecret, Secret};
pub use verify::{Verified, Verifier, VerifyError, VerifyErrorKind};
