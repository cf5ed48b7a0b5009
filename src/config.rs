use http::StatusCode;

use crate::{Dispatcher, detach::Disconnect, request::Reader};

/// What a layer was told, shared by all its services.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) reader: Reader,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) disconnect: Disconnect,
    pub(crate) forwards: fn(StatusCode) -> bool,
}
