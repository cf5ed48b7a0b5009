use http::StatusCode;

use crate::{ask::Reader, dispatch::Dispatcher, response::Disconnect};

/// What a layer was told, shared by all its services.
#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) reader: Reader,
    pub(super) dispatcher: Dispatcher,
    pub(super) disconnect: Disconnect,
    pub(super) forwards: fn(StatusCode) -> bool,
}
