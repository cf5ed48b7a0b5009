//! `--admin`: the page, and health.

use std::{fs, net::SocketAddr};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use reqwest::Method;
use serde_json::Value;

use crate::{
    BINARY,
    process::{Process, within},
    raw::echo,
    scene::Folder,
    sqlite::outbox,
    world::World,
};

const PRIVATE: &str = "--insecure-private-endpoints";

async fn admin_of(process: &mut Process) -> SocketAddr {
    let line = process.stdout.line_with("admin on http://").await;
    line.rsplit('/').next().unwrap().parse().unwrap()
}

async fn get(world: &World, admin: SocketAddr, path: &str) -> reqwest::Response {
    let asked = world.plain(Method::GET, admin, path).send().await;
    asked.unwrap()
}

#[tokio::test]
async fn the_page_shows_what_was_delivered_and_health_is_told() {
    let mut world = World::of(echo(), &[PRIVATE, "--admin", "127.0.0.1:0"]).await;
    let admin = world.admin.unwrap();
    world
        .call(Method::POST, "/run")
        .body("done")
        .send()
        .await
        .unwrap();
    world.webhook().await;
    let page = get(&world, admin, "/").await;
    assert_eq!(page.status(), StatusCode::OK);
    assert!(
        page.headers()["content-security-policy"]
            .to_str()
            .unwrap()
            .contains("nonce-")
    );
    assert!(page.text().await.unwrap().contains("<!doctype html>"));
    let listed = get(&world, admin, "/api/deliveries")
        .await
        .text()
        .await
        .unwrap();
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert!(listed.to_string().contains("127.0.0.1"), "{listed}");
    for path in ["/healthz", "/readyz"] {
        let health = get(&world, admin, path).await;
        assert_eq!(
            (health.status(), &*health.text().await.unwrap()),
            (StatusCode::OK, "ok\n")
        );
    }
    let posted = world
        .plain(Method::POST, admin, "/readyz")
        .send()
        .await
        .unwrap();
    assert_eq!(posted.status(), StatusCode::METHOD_NOT_ALLOWED);

    // A `HEAD` gets no body, over HTTP/2 neither, and the length that a `GET` would have.
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    for path in ["/healthz", "/readyz"] {
        let head = Request::head(format!("http://{admin}{path}"));
        let head = client.request(head.body(Empty::new()).unwrap());
        let (head, body) = within(head).await.unwrap().into_parts();
        assert_eq!(head.headers["content-length"], "3");
        let body = within(body.collect()).await.unwrap().to_bytes();
        assert_eq!(body, "", "{path}");
    }

    // A name of somebody else's that leads here.
    let rebound = world
        .plain(Method::GET, admin, "/")
        .header("host", "evil.example");
    let rebound = rebound.send().await.unwrap();
    assert_eq!(rebound.status(), StatusCode::MISDIRECTED_REQUEST);
    // Nothing of it is on the address of callers.
    let calls = world
        .plain(Method::GET, world.address, "/healthz")
        .body("the service's")
        .send();
    assert_eq!(calls.await.unwrap().text().await.unwrap(), "the service's");
    // Nor can anybody act who was not told that it is permitted.
    let act = world
        .plain(Method::POST, admin, "/api/redeliver")
        .send()
        .await
        .unwrap();
    assert_eq!(act.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_token_opens_the_page_and_health_needs_none() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, "a-token-of-some-length\n").unwrap();
    let file = file.to_str().unwrap();
    let args = [
        PRIVATE,
        "--admin",
        "127.0.0.1:0",
        "--admin-token-file",
        file,
    ];
    let world = World::of(echo(), &args).await;
    let admin = world.admin.unwrap();
    let closed = get(&world, admin, "/").await;
    assert_eq!(closed.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(
        closed.headers()["www-authenticate"],
        "Basic realm=\"tower-webhook\""
    );
    for path in ["/", "/api/deliveries"] {
        let open = world.plain(Method::GET, admin, path);
        let open = open
            .bearer_auth("a-token-of-some-length")
            .send()
            .await
            .unwrap();
        assert_eq!(open.status(), StatusCode::OK);
        let basic = world.plain(Method::GET, admin, path);
        let basic = basic
            .basic_auth("me", Some("a-token-of-some-length"))
            .send()
            .await;
        assert_eq!(basic.unwrap().status(), StatusCode::OK);
        let wrong = world
            .plain(Method::GET, admin, path)
            .bearer_auth("another-token-there");
        assert_eq!(
            wrong.send().await.unwrap().status(),
            StatusCode::UNAUTHORIZED
        );
    }
    assert_eq!(
        get(&world, admin, "/healthz").await.status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn an_outbox_that_cannot_be_written_is_not_ready() {
    let folder = Folder::new();
    let outbox = outbox(&folder);
    let args = ["worker", "--outbox", &outbox, "--admin", "127.0.0.1:0"];
    let mut worker = Process::start(BINARY, &args, &[]);
    let admin = admin_of(&mut worker).await;
    let status = async |path: &str| {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client
            .get(format!("http://{admin}{path}"))
            .send()
            .await
            .unwrap();
        answer.status()
    };
    assert_eq!(status("/readyz").await, StatusCode::OK);
    // Another process does not let go of it.
    let holding = rusqlite::Connection::open(folder.file()).unwrap();
    holding.execute_batch("BEGIN IMMEDIATE").unwrap();
    within(async { while status("/readyz").await == StatusCode::OK {} }).await;
    assert_eq!(status("/healthz").await, StatusCode::OK);
    holding.execute_batch("ROLLBACK").unwrap();
    within(async { while status("/readyz").await != StatusCode::OK {} }).await;
    worker.signal("TERM");
    assert!(worker.exit().await.success());
}

/// As on a full disk: what changes nothing can still be written.
#[tokio::test]
async fn an_outbox_that_takes_no_delivery_is_not_ready() {
    let folder = Folder::new();
    let outbox = outbox(&folder);
    let args = [PRIVATE, "--admin", "127.0.0.1:0", "--outbox", &outbox];
    let mut world = World::of(echo(), &args).await;
    let admin = world.admin.unwrap();
    folder.sql(
        "CREATE TRIGGER full BEFORE INSERT ON delivery BEGIN SELECT RAISE(ABORT, 'full'); END",
    );
    for (is_full, expected) in [
        (true, StatusCode::SERVICE_UNAVAILABLE),
        (false, StatusCode::OK),
    ] {
        if !is_full {
            folder.sql("DROP TRIGGER full");
        }
        let call = world.call(Method::POST, "/run").body("done").send();
        assert_eq!(call.await.unwrap().status(), StatusCode::OK);
        world.webhook().await;
        let ready = get(&world, admin, "/readyz").await;
        assert_eq!(ready.status(), expected);
    }
}

#[tokio::test]
async fn an_address_that_others_reach_needs_a_token_that_cannot_be_guessed() {
    let folder = tempfile::tempdir().unwrap();
    let [none, short] = ["none", "short"].map(|name| folder.path().join(name));
    fs::write(&short, "hush").unwrap();
    let [none, short] = [&none, &short].map(|path| path.to_str().unwrap());
    for (args, says) in [
        (&["--admin", "0.0.0.0:0"][..], "needs --admin-token-file"),
        (
            &["--admin", "127.0.0.1:0", "--admin-token-file", none],
            "No such file",
        ),
        (
            &["--admin", "127.0.0.1:0", "--admin-token-file", short],
            "16 visible characters",
        ),
        (&["--admin-actions"], "--admin <ADDR>"),
    ] {
        let base = ["--upstream", "http://service", "--listen", "127.0.0.1:0"];
        let mut proxy = crate::proxy(&[&base[..], args].concat(), &[]);
        let text = proxy.stderr.rest().await;
        assert!(!proxy.exit().await.success());
        assert!(text.contains(says) && !text.contains("hush"), "{text}");
    }
}
