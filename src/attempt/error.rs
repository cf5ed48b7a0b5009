use std::{error::Error, fmt, io};

use crate::event::AttemptError;

/// The connector's own errors, as opposed to those of the network.
#[derive(Debug)]
#[cfg_attr(not(feature = "client"), allow(dead_code))] // the crate's own client uses it
pub(super) enum ConnectError {
    /// An address, or the name itself, is not permitted.
    Forbidden,
    /// The name has no address, or the look-up failed or took too long.
    Unresolved,
    /// Too many others wait for an answer of that address.
    Crowded,
    /// Connecting took longer than an attempt may.
    TimedOut,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forbidden => "the endpoint is not permitted",
            Self::Unresolved => "the endpoint's name was not resolved",
            Self::Crowded => "too many attempts to that address are under way",
            Self::TimedOut => "connecting took too long",
        })
    }
}

impl Error for ConnectError {}

/// Classifies a client's error by the causes that it carries.
pub(super) fn classify(error: &(dyn Error + 'static)) -> AttemptError {
    let known = causes(error).find_map(exactly);
    known.unwrap_or_else(|| causes(error).fold(AttemptError::Client, roughly))
}

/// Classifies an error that occurred while connecting.
#[cfg(feature = "client")]
pub(super) fn classify_connecting(error: &(dyn Error + 'static)) -> AttemptError {
    let known = causes(error).find_map(exactly);
    known.unwrap_or(AttemptError::Connect)
}

fn exactly(error: &(dyn Error + 'static)) -> Option<AttemptError> {
    if let Some(error) = error.downcast_ref::<ConnectError>() {
        return Some(match error {
            ConnectError::Forbidden => AttemptError::Forbidden,
            ConnectError::Unresolved => AttemptError::Resolve,
            ConnectError::Crowded => AttemptError::Crowded,
            ConnectError::TimedOut => AttemptError::TimedOut,
        });
    }
    #[cfg(feature = "client")]
    if error.is::<rustls::Error>() {
        return Some(AttemptError::Tls);
    }
    None
}

fn roughly(known: AttemptError, error: &(dyn Error + 'static)) -> AttemptError {
    #[cfg(feature = "client")]
    if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
        return match error.is_connect() {
            true => AttemptError::Connect,
            false => AttemptError::ConnectionLost,
        };
    }
    #[cfg(feature = "client")]
    let is_hypers = error.is::<hyper::Error>();
    #[cfg(not(feature = "client"))]
    let is_hypers = false;
    let lost = is_hypers || error.is::<io::Error>();
    match known {
        AttemptError::Client if lost => AttemptError::ConnectionLost,
        known => known,
    }
}

/// An error, and its causes.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| cause(*error))
}

/// An I/O error's `source` skips the error that it wraps.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().map(io::Error::get_ref) {
        Some(Some(wrapped)) => Some(wrapped),
        _ => error.source(),
    }
}
