use std::{borrow::Cow, fmt, sync::Arc};

use http::{StatusCode, request};

use crate::{
    ask::{PromiseReader, Reader},
    dispatch::Dispatcher,
    response::{Disconnect, Wishes},
};

/// What a layer was told, shared by all its services.
#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) reader: Reader,
    pub(super) dispatcher: Dispatcher,
    pub(super) disconnect: Disconnect,
    pub(super) wishes: Arc<Wishes>,
    /// Whether the handler sees nothing of what asks for a webhook.
    pub(super) hides_request: bool,
    pub(super) caller_key: Option<CallerKey>,
    /// How calls ask for a 202, where they may.
    pub(super) promises: Option<PromiseReader>,
    /// Where the status of calls is served: what comes before a run id.
    pub(super) status_location: Option<Cow<'static, str>>,
    pub(super) forwards: fn(StatusCode) -> bool,
}

/// Tells callers apart, by a function of the operator's.
#[derive(Clone)]
pub(super) struct CallerKey(pub(super) Arc<CallerKeyFn>);

pub(super) type CallerKeyFn = dyn Fn(&request::Parts) -> Option<String> + Send + Sync;

impl fmt::Debug for CallerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallerKey(..)")
    }
}
