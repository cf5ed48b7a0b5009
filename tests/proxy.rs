//! The example `proxy`, as a process between real sockets.

#![cfg(unix)]

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use tokio::{net::TcpListener, sync::mpsc};
use tower_webhook::Verifier;

use crate::process::{Process, within};

#[path = "support/process.rs"]
mod process;

const SECRET: &str = "a-value-of-your-choice";

async fn serve(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, app).await });
    format!("http://{address}")
}

#[tokio::test]
async fn a_service_behind_it_calls_back() {
    let service = Router::new().route("/run", post(|body: Bytes| async { body }));
    let (posted, mut webhooks) = mpsc::unbounded_channel();
    let hook = |headers: HeaderMap, body: Bytes| async move {
        let genuine = Verifier::new(SECRET).verify(&headers, &body).is_ok();
        let _ = posted.send((genuine, body));
        StatusCode::NO_CONTENT
    };
    let endpoint = serve(Router::new().route("/hook", post(hook))).await + "/hook";
    let upstream = serve(service).await;
    let args = ["--listen", "127.0.0.1:0", "--insecure-private-endpoints"];
    let args = [&args[..], &["--upstream", &upstream]].concat();
    let mut proxy = Process::example("proxy", &args);
    let line = proxy.stdout.line_with("listening on http://").await;
    let address = line.rsplit(' ').next().unwrap();

    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let call = client
        .post(format!("{address}/run"))
        .query(&[("webhookEndpoint", &endpoint)])
        .header("x-webhook-secret", SECRET)
        .body("an answer");
    let response = within(call.send()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(within(response.text()).await.unwrap(), "an answer");
    let (genuine, body) = within(webhooks.recv()).await.unwrap();
    assert!(genuine);
    assert_eq!(body, "an answer");

    proxy.signal("INT");
    assert!(proxy.exit().await.success());
}
