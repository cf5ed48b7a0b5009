//! The first thing that a newcomer runs.

#![cfg(unix)]

use crate::process::{Process, within};

#[path = "support/process.rs"]
mod process;

#[tokio::test]
async fn one_call_is_made_delivered_and_verified() {
    let mut quickstart = Process::example("quickstart", &["--once"]);
    let printed = quickstart.stdout.rest().await;
    assert!(quickstart.exit().await.success(), "{printed}");
    for part in [
        "POST http://127.0.0.1:",
        "200 OK",
        "x-cerebrium-webhook-signature: v1,",
        "webhook-signature: v1,",
        "Hello, Ada!",
        "The signature: verified",
    ] {
        assert!(printed.contains(part), "{part} is not in\n{printed}");
    }
}

#[tokio::test]
async fn it_then_serves_the_line_that_it_prints() {
    let mut quickstart = Process::example("quickstart", &[]);
    let line = quickstart.stdout.line_with("curl -i").await;
    let url = line.split('\'').find(|part| part.starts_with("http://"));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let call = client.post(url.unwrap()).body("Grace");
    let response = call.header("x-webhook-secret", "of another").send();
    assert_eq!(within(response).await.unwrap().status(), 200);
    quickstart.stdout.line_with("Hello, Grace!").await;
    quickstart.stdout.line_with("NOT VALID").await;
    quickstart.signal("INT");
    assert!(quickstart.exit().await.success());
}
