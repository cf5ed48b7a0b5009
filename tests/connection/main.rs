//! Which connections are opened, to whom, and which are not.

#[path = "../support/authority.rs"]
mod authority;
#[path = "../support/hostile.rs"]
mod hostile;

#[path = "../support/recorder.rs"]
mod recorder;

mod addresses;
mod crowded;
mod environment;
mod gauges;
mod literals;
mod lookups;
mod names;
mod permits;
mod rebinding;
mod sockets;

use http::StatusCode;
use tower_webhook::event::{AttemptError, Outcome};

const FORBIDDEN: Outcome = Outcome::Failed(AttemptError::Forbidden);
const TAKEN: Outcome = Outcome::answered(StatusCode::NO_CONTENT, None);
const TAKES: &str = "HTTP/1.1 204 No Content\r\n\r\n";
