//! Calls with a 202, and a proxy that ends before they do.

use std::{future::pending, time::Duration};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use http::StatusCode;
use tokio::{net::TcpListener, sync::mpsc, time::timeout};

use crate::{
    process::{Process, within},
    scene::{Folder, SECRET, until_in_file},
    world::serve,
};

/// A webhook, as it came.
type Posted = (HeaderMap, Bytes);

struct Scene {
    folder: Folder,
    upstream: String,
    arrived: mpsc::UnboundedReceiver<()>,
    endpoint: String,
    posted: mpsc::UnboundedReceiver<Posted>,
}

impl Scene {
    /// `/slow` never answers, `/quick` does at once.
    async fn new() -> Self {
        let (arrive, arrived) = mpsc::unbounded_channel();
        let slow = |State(arrive): State<mpsc::UnboundedSender<()>>| async move {
            let _ = arrive.send(());
            pending::<&'static str>().await
        };
        let service = Router::new()
            .route("/slow", post(slow))
            .route("/quick", post(|| async { "done" }))
            .with_state(arrive);
        let (post_to, posted) = mpsc::unbounded_channel();
        let hook = |headers: HeaderMap, body: Bytes| async move {
            let _ = post_to.send((headers, body));
            StatusCode::NO_CONTENT
        };
        let receiver = serve(Router::new().route("/hook", post(hook))).await;
        Self {
            folder: Folder::new(),
            upstream: format!("http://{}", serve(service).await),
            arrived,
            endpoint: format!("http://{receiver}/hook"),
            posted,
        }
    }

    async fn proxy(&self, more: &[&str]) -> (Process, String) {
        let outbox = format!("sqlite:{}", self.folder.file().display());
        let mut args = vec!["--listen", "127.0.0.1:0", "--insecure-private-endpoints"];
        args.extend(["--async-requests", "--upstream", &self.upstream]);
        args.extend(["--outbox", &outbox]);
        args.extend(more);
        let mut process = crate::proxy(&args, &[]);
        let line = process.stdout.line_with("listening on http://").await;
        let address = line.split("listening on ").nth(1).unwrap().to_owned();
        (process, address)
    }

    async fn call(&self, address: &str, path: &str, id: &str) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let call = client
            .post(format!("{address}{path}"))
            .query(&[("webhookEndpoint", &*self.endpoint), ("async", "true")])
            .header("x-request-id", id)
            .header("x-webhook-secret", SECRET);
        let answer = within(call.send()).await.unwrap();
        assert_eq!(answer.status(), 202);
    }

    async fn posted(&mut self) -> Posted {
        within(self.posted.recv()).await.unwrap()
    }

    /// Exactly one notice is sent, and the proxy has noted that.
    async fn expect_one_notice(&mut self, id: &str) {
        let (headers, body) = self.posted().await;
        assert_eq!(headers["x-webhook-failure"], "interrupted");
        assert_eq!(headers["x-request-id"], id);
        assert!(!headers.contains_key("x-webhook-response-status"));
        let verifier = tower_webhook::Verifier::new(SECRET);
        assert!(verifier.verify(&headers, &body).is_ok());
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["type"], "urn:tower-webhook:failure:interrupted");
        assert_eq!(problem["run_id"], id);
        until_in_file(|| self.folder.count("TRUE") == 0).await;
        assert!(self.posted.try_recv().is_err(), "told twice");
        let failed = "failure = 'interrupted' AND request_id IS NOT NULL";
        assert_eq!(self.folder.count_in("history", failed), 1);
    }
}

#[tokio::test]
async fn a_run_that_a_killed_proxy_had_is_told_as_interrupted_by_the_next_one() {
    let mut scene = Scene::new().await;
    let (mut first, address) = scene.proxy(&[]).await;
    scene.call(&address, "/slow", "cut-off").await;
    within(scene.arrived.recv()).await.unwrap();
    assert_eq!(scene.folder.count("state = 'leased' AND run = 1"), 1);
    // One that ends is told as it ended, and nothing else.
    scene.call(&address, "/quick", "ended").await;
    let (headers, body) = scene.posted().await;
    assert_eq!(
        (&headers["x-request-id"], &*body),
        (&"ended".parse().unwrap(), &b"done"[..])
    );
    assert!(!headers.contains_key("x-webhook-failure"));
    until_in_file(|| scene.folder.count("TRUE") == 1).await;
    first.signal("KILL");
    first.exit().await;

    let (mut second, _) = scene.proxy(&[]).await;
    scene.expect_one_notice("cut-off").await;
    second.signal("TERM");
    assert!(second.exit().await.success());
    let log = second.stderr.rest().await;
    assert!(log.contains("delivered=1 "), "{log}");
}

#[tokio::test]
async fn a_run_that_outlasts_the_drain_is_told_as_interrupted_at_once_by_the_next_proxy() {
    let mut scene = Scene::new().await;
    let (mut first, address) = scene.proxy(&["--drain", "100ms"]).await;
    scene.call(&address, "/slow", "too-long").await;
    within(scene.arrived.recv()).await.unwrap();
    first.signal("TERM");
    first.exit().await;
    assert_eq!(scene.folder.count("state = 'waiting' AND run = 1"), 1);
    assert!(scene.posted.try_recv().is_err());

    let (_second, _) = scene.proxy(&[]).await;
    // Sooner than a lease runs out, which takes more than ten seconds.
    let told = timeout(Duration::from_secs(9), scene.expect_one_notice("too-long"));
    told.await.expect("it is told at once");
}

#[tokio::test]
async fn a_run_that_ends_in_the_drain_is_told_as_it_ended() {
    let scene = Scene::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    let mut scene = Scene {
        upstream: format!("http://{upstream}"),
        ..scene
    };
    let (mut first, address) = scene.proxy(&[]).await;
    scene.call(&address, "/", "in-time").await;
    // It has the call, and answers once the proxy drains.
    let (socket, _) = within(listener.accept()).await.unwrap();
    first.signal("TERM");
    first.stderr.line_with("draining").await;
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone";
    let mut sent = 0;
    while sent < answer.len() {
        within(socket.writable()).await.unwrap();
        sent += socket.try_write(&answer[sent..]).unwrap_or(0);
    }
    assert!(first.exit().await.success());
    // What it had no time to attempt any more is the next one's.
    let (_second, _) = scene.proxy(&[]).await;
    let (headers, body) = scene.posted().await;
    assert!(!headers.contains_key("x-webhook-failure"));
    assert_eq!(body, "done");
    until_in_file(|| scene.folder.count("TRUE") == 0).await;
    assert!(scene.posted.try_recv().is_err());
}
