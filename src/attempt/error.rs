use std::{error::Error, fmt, io};

use crate::event::AttemptError;

/// The connector's own reasons, told apart from those of the network.
#[derive(Debug)]
pub(super) enum ConnectError {
    /// An address, or the name itself, is not permitted.
    Forbidden,
    /// The name has no address, or nobody says which.
    Unresolved,
    /// It took longer than an attempt may.
    TimedOut,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forbidden => "the endpoint is not permitted",
            Self::Unresolved => "the endpoint's name was not resolved",
            Self::TimedOut => "connecting took too long",
        })
    }
}

impl Error for ConnectError {}

/// What a client's error means, from the causes it carries.
pub(super) fn classify(error: &(dyn Error + 'static)) -> AttemptError {
    let known = causes(error).find_map(exactly);
    known.unwrap_or_else(|| causes(error).fold(AttemptError::Client, roughly))
}

/// What an error means that came while connecting.
pub(super) fn classify_connecting(error: &(dyn Error + 'static)) -> AttemptError {
    let known = causes(error).find_map(exactly);
    known.unwrap_or(AttemptError::Connect)
}

fn exactly(error: &(dyn Error + 'static)) -> Option<AttemptError> {
    if let Some(error) = error.downcast_ref::<ConnectError>() {
        return Some(match error {
            ConnectError::Forbidden => AttemptError::Forbidden,
            ConnectError::Unresolved => AttemptError::Resolve,
            ConnectError::TimedOut => AttemptError::TimedOut,
        });
    }
    error.is::<rustls::Error>().then_some(AttemptError::Tls)
}

fn roughly(known: AttemptError, error: &(dyn Error + 'static)) -> AttemptError {
    if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
        return match error.is_connect() {
            true => AttemptError::Connect,
            false => AttemptError::ConnectionLost,
        };
    }
    let lost = error.is::<hyper::Error>() || error.is::<io::Error>();
    match known {
        AttemptError::Client if lost => AttemptError::ConnectionLost,
        known => known,
    }
}

/// An error, and what it was caused by.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| cause(*error))
}

/// An I/O error's `source` leaves out the error that it wraps.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().map(io::Error::get_ref) {
        Some(Some(wrapped)) => Some(wrapped),
        _ => error.source(),
    }
}
