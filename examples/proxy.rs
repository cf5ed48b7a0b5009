//! The shortest reverse proxy with the layer: any HTTP service behind it calls back.
//!
//! ```sh
//! # a service, in its own language
//! python3 -m http.server 9000 --bind 127.0.0.1
//!
//! # the proxy in front of it
//! cargo run --example proxy -- --upstream http://127.0.0.1:9000 --insecure-private-endpoints
//!
//! # somebody who takes webhooks
//! WEBHOOK_SECRET=a-value-of-your-choice cargo run --example receiver -- 127.0.0.1:9001
//!
//! # a call that asks for one
//! curl -i -H 'X-Webhook-Secret: a-value-of-your-choice' \
//!   'http://127.0.0.1:8080/?webhookEndpoint=http%3A%2F%2F127.0.0.1%3A9001%2Fwebhook'
//! ```
//!
//! It shows where the layer goes, and leaves out most of what a proxy has to do: upgrades, a service
//! behind TLS, messages that can be read in two ways. `tower-webhook proxy`, in
//! `crates/tower-webhook-server`, does all of that.

use std::{error::Error, io::Write as _, net::SocketAddr};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{StatusCode, Uri, header, uri::PathAndQuery},
    response::{IntoResponse, Response},
};
use clap::Parser;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::net::TcpListener;
use tower_webhook::{Dispatcher, EndpointPolicy, WebhookLayer};

#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,

    /// The service behind the proxy, such as http://127.0.0.1:9000
    #[arg(long)]
    upstream: Uri,

    /// Accept webhook endpoints with http and in private networks: for trying out
    #[arg(long)]
    insecure_private_endpoints: bool,
}

#[derive(Clone)]
struct Service {
    client: Client<HttpConnector, Body>,
    url: Uri,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    tracing_subscriber::fmt().init();
    let mut policy = EndpointPolicy::public();
    if args.insecure_private_endpoints {
        policy = policy.with_insecure_http().with_insecure_private_networks();
    }
    let dispatcher = Dispatcher::builder().with_endpoint_policy(policy).build();
    let service = Service {
        client: Client::builder(TokioExecutor::new()).build_http(),
        url: args.upstream,
    };
    let app = Router::new()
        .fallback(forward)
        .with_state(service)
        .layer(WebhookLayer::new().with_dispatcher(dispatcher.clone()));

    let listener = TcpListener::bind(args.listen).await?;
    let address = listener.local_addr()?;
    writeln!(std::io::stdout(), "listening on http://{address}")?;
    axum::serve(listener, app)
        .with_graceful_shutdown(async { drop(tokio::signal::ctrl_c().await) })
        .await?;
    dispatcher
        .shutdown(std::time::Duration::from_secs(30))
        .await;
    Ok(())
}

/// The same call to the service behind, and its answer.
async fn forward(State(service): State<Service>, mut request: Request) -> Response {
    let mut target = service.url.into_parts();
    let root = || PathAndQuery::from_static("/");
    target.path_and_query = Some(request.uri().path_and_query().cloned().unwrap_or_else(root));
    let Ok(target) = Uri::from_parts(target) else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    *request.uri_mut() = target;
    // It concerns the caller's connection alone.
    request.headers_mut().remove(header::CONNECTION);
    match service.client.request(request).await {
        Ok(answer) => answer.map(Body::new),
        Err(error) => {
            tracing::warn!(%error, "the service gave no answer");
            StatusCode::BAD_GATEWAY.into_response()
        }
    }
}
