//! All of it on one page: an API with the layer, a receiver that can be told to fail, and the console.
//!
//! ```sh
//! cargo run --example playground    # prints the address of the page; Ctrl-C ends it
//! ```
//!
//! A form sends a call. The page shows the response, the webhook as the receiver got it, whether its
//! signature is right, and each retry as it happens. What the form sends stays on this machine.

mod certificate;
mod journal;
mod manner;
mod receiver;
mod site;

use std::{error::Error, time::Duration};

use tokio::net::TcpListener;
use tower_webhook::{Dispatcher, EndpointPolicy, RetryPolicy, WebhookLayer, outbox::MemoryOutbox};
use tower_webhook_console::{Access, ConsoleEvents, console};

use self::{journal::Journal, receiver::Receivers};

/// In seconds, so that retries can be watched. The policy's own delays are from 15 seconds to 8 minutes.
const DELAYS: [u64; 3] = [1, 2, 4];
/// So that a late answer is too late within seconds.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let journal = Journal::new();

    // The receiver, which in real life is the caller's own service.
    let plain = TcpListener::bind("127.0.0.1:0").await?;
    let secure = TcpListener::bind("127.0.0.1:0").await?;
    let ports = [plain.local_addr()?.port(), secure.local_addr()?.port()];
    let receivers = Receivers::new(ports, journal.clone());
    tokio::spawn(certificate::show_a_wrong_one(secure)?);
    tokio::spawn(receiver::serve(plain, receivers.clone()));

    // By default only https endpoints at public addresses are accepted. The receiver here is neither.
    let mut policy = EndpointPolicy::public().with_permitted_network("127.0.0.1/32")?;
    for port in ports {
        policy = policy.with_allowed_port(port);
    }
    let events = ConsoleEvents::new();
    let dispatcher = Dispatcher::builder()
        .with_endpoint_policy(policy)
        .with_retry_policy(RetryPolicy::patient().with_delays(DELAYS.map(Duration::from_secs)))
        .with_attempt_timeout(ATTEMPT_TIMEOUT)
        .with_outbox(MemoryOutbox::new().with_history_payloads())
        .on_event(events.subscriber())
        .on_event(journal.subscriber())
        .build();

    // The caller then knows by which id its webhook comes.
    let layer = WebhookLayer::new()
        .with_dispatcher(dispatcher.clone())
        .with_response_id();
    // In production somebody authenticates who opens it. Here it is whoever is on this machine.
    let console = console(&dispatcher, Access::left_to_others())
        .with_events(&events)
        .with_actions();

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let site = site::with(layer, console, receivers, &journal, address);
    println!("The playground is at http://{address} (Ctrl-C ends it)");
    axum::serve(listener, site).await?;
    Ok(())
}
