//! The whole story in one process: an API with the layer, a caller that asks it for a webhook,
//! and a receiver that verifies what comes.
//!
//! ```sh
//! cargo run --example quickstart            # one call, then serves until Ctrl-C
//! cargo run --example quickstart -- --once  # one call; exit code 0 when its webhook verified
//! ```
//!
//! It prints the call, the response and the webhook, and then a curl line with which to make
//! calls of your own. All of it stays on this machine.

use std::{error::Error, process::ExitCode, time::Duration};

use axum::{Router, body::Bytes, http::HeaderMap, routing::post};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};
use tower_webhook::{Dispatcher, EndpointPolicy, Verifier, WebhookLayer};

/// The caller makes it up: it goes along with the call, and signs the webhook.
const SECRET: &str = "a-value-of-your-choice";

/// An ordinary handler. It knows nothing of webhooks.
async fn greet(name: String) -> String {
    format!("Hello, {name}!")
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    // The receiver, which in real life is the caller's own service.
    let (received, mut webhooks) = mpsc::unbounded_channel();
    let receiver = Router::new().route(
        "/hook",
        post(|headers: HeaderMap, body: Bytes| async move {
            let verified = Verifier::new(SECRET).verify(&headers, &body);
            let _ = received.send((headers, body, verified));
        }),
    );
    let endpoint = format!("http://{}/hook", serve(receiver).await?);

    // The API. By default only https endpoints at public addresses are accepted; this receiver
    // is neither, so this dispatcher accepts all. Do not do that on the internet.
    let policy = EndpointPolicy::public()
        .with_insecure_http()
        .with_insecure_private_networks();
    let dispatcher = Dispatcher::builder().with_endpoint_policy(policy).build();
    let api = Router::new()
        .route("/greet", post(greet))
        .layer(WebhookLayer::new().with_dispatcher(dispatcher));
    let api = format!("http://{}/greet", serve(api).await?);

    // The call: an ordinary one, but for a query parameter and a header.
    let client = reqwest::Client::builder().no_proxy().build()?;
    let request = client
        .post(api)
        .query(&[("webhookEndpoint", &endpoint)])
        .header("X-Webhook-Secret", SECRET)
        .body("Ada")
        .build()?;
    let url = request.url().clone();
    println!("# The call\n\nPOST {url}\nx-webhook-secret: {SECRET}\n\nAda\n");

    let response = client.execute(request).await?;
    println!("# The response, as without the layer\n");
    println!("{:?} {}", response.version(), response.status());
    print_headers(response.headers());
    print_body(&response.bytes().await?);

    println!("# The webhook\n");
    let Ok(Some((headers, body, verified))) =
        timeout(Duration::from_secs(10), webhooks.recv()).await
    else {
        println!("none came within 10 seconds");
        return Ok(ExitCode::FAILURE);
    };
    print_webhook(&headers, &body, verified.is_ok());
    if std::env::args().any(|arg| arg == "--once") {
        return Ok(match verified {
            Ok(_) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        });
    }

    println!("# Your turn (Ctrl-C ends it)\n");
    println!("curl -i -H 'X-Webhook-Secret: {SECRET}' -d you '{url}'\n");
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
            Some((headers, body, verified)) = webhooks.recv() => {
                println!("# A webhook\n");
                print_webhook(&headers, &body, verified.is_ok());
            }
        }
    }
}

/// Serves on a free port of this machine, and says at which address.
async fn serve(app: Router) -> std::io::Result<std::net::SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async { axum::serve(listener, app).await });
    Ok(address)
}

fn print_webhook(headers: &HeaderMap, body: &[u8], verified: bool) {
    println!("POST /hook");
    print_headers(headers);
    print_body(body);
    println!(
        "The signature: {}\n",
        if verified { "verified" } else { "NOT VALID" }
    );
}

fn print_headers(headers: &HeaderMap) {
    for (name, value) in headers {
        println!("{name}: {}", String::from_utf8_lossy(value.as_bytes()));
    }
}

fn print_body(body: &[u8]) {
    println!("\n{}\n", String::from_utf8_lossy(body));
}
