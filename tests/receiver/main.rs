//! Receivers that mean harm: every attempt ends in time, with its outcome, and leaves nothing.

#[path = "../support/authority.rs"]
mod authority;
#[path = "../support/hostile.rs"]
mod hostile;

mod broken;
mod early;
mod endless;
mod endless_tls;
mod false_answers;
mod pool;
mod silent;
mod status_decides;
mod tls;
mod upload;

use http::StatusCode;
use tower_webhook::event::{AttemptError, Outcome};

use self::hostile::{Api, Receiver, no_task_is_left};

const LOST: Outcome = Outcome::Failed(AttemptError::ConnectionLost);

fn answered(status: u16) -> Outcome {
    Outcome::answered(StatusCode::from_u16(status).unwrap(), None)
}

/// The socket of the one attempt is closed while the client lives on; then nothing is left.
async fn ended(api: Api, mut receiver: Receiver) {
    receiver.over().await;
    assert_eq!(receiver.accepted(), 1);
    gone(api, receiver).await;
}

async fn gone(api: Api, receiver: Receiver) {
    drop((api, receiver));
    no_task_is_left().await;
}
