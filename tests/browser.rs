//! A page of another origin calls an API that has the layer, in a real browser: Debian's Chromium.
//!
//! Without one it says that it was skipped, and with `TOWER_WEBHOOK_BROWSER=required` it fails then.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    response::Html,
    routing::{get, post},
};
use http::{HeaderMap, HeaderName, Method, header::CONTENT_TYPE};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};
use tower_http::cors::{Any, CorsLayer};
use tower_webhook::Verifier;

#[path = "support/mod.rs"]
mod support;

use support::rig::Rig;

/// A browser that starts for the first time takes its time.
const STARTING: Duration = Duration::from_secs(180);

const SECRET: &str = "a-value-of-your-choice";

fn chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path);
    let found = folders.find_map(|folder| {
        let names = ["chromium", "chromium-browser", "google-chrome"];
        let mut files = names.iter().map(|name| folder.join(name));
        files.find(|file| file.is_file())
    });
    let is_required = std::env::var("TOWER_WEBHOOK_BROWSER").is_ok_and(|value| value == "required");
    assert!(found.is_some() || !is_required, "no chromium");
    if found.is_none() {
        eprintln!("SKIPPED: there is no chromium");
    }
    found
}

/// Ends with the test.
struct Browser(Child);

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn open(chromium: &PathBuf, profile: &tempfile::TempDir, page: &str) -> Browser {
    let mut command = Command::new(chromium);
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
        ])
        .args(["--no-first-run", "--disable-background-networking"])
        .args(["--disable-component-update", "--disable-sync"])
        .args(["--remote-debugging-port=0", "--disable-dev-shm-usage"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(page)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Browser(command.spawn().unwrap())
}

async fn serve(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}")
}

/// The page calls, and tells its own server what it got.
fn page(call: &str) -> String {
    format!(
        r#"<!doctype html><script>
        const headers = {{"x-webhook-secret": "{SECRET}", "content-type": "application/json"}};
        fetch("{call}", {{method: "POST", headers, body: "{{}}"}})
            .then(async (answer) => answer.status + " " + await answer.text())
            .catch((error) => String(error))
            .then((text) => fetch("/said", {{method: "POST", body: text}}));
        </script>"#
    )
}

async fn calls(app: impl FnOnce(&Rig) -> Router) {
    let Some(chromium) = chromium() else { return };
    let mut rig = Rig::new().await;
    let api = serve(app(&rig)).await;
    let call = format!("{api}{}", rig.asking("/run"));
    let (tell, mut said) = mpsc::unbounded_channel();
    let site = Router::new()
        .route("/", get(|| async move { Html(page(&call)) }))
        .route(
            "/said",
            post(|text: String| async move { drop(tell.send(text)) }),
        );
    let site = serve(site).await;

    let profile = tempfile::tempdir().unwrap();
    let browser = open(&chromium, &profile, &site);
    let said = timeout(STARTING, said.recv()).await;
    assert_eq!(said.expect("the page calls").unwrap(), "200 done");
    drop(browser);
    let webhook = rig.receiver.next().await;
    let verified = Verifier::new(SECRET).verify(&webhook.headers, &webhook.body);
    assert!(verified.is_ok(), "{verified:?}");
    assert_eq!(webhook.body, "done");
    // The preflight made none.
    rig.expect_delivered().await;
}

fn api() -> Router {
    let run = |headers: HeaderMap, body: Bytes| async move {
        assert_eq!(headers["x-webhook-secret"], SECRET);
        assert_eq!(body, "{}");
        "done"
    };
    Router::new().route("/run", post(run))
}

fn cors() -> CorsLayer {
    let secret = HeaderName::from_static("x-webhook-secret");
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::POST])
        .allow_headers([secret, CONTENT_TYPE])
}

#[tokio::test]
async fn a_page_calls_with_cors_outside_of_the_layer() {
    calls(|rig| {
        api()
            .layer(rig.layer().with_required_secret())
            .layer(cors())
    })
    .await;
}

#[tokio::test]
async fn a_page_calls_with_cors_inside_of_the_layer() {
    calls(|rig| {
        api()
            .layer(cors())
            .layer(rig.layer().with_required_secret())
    })
    .await;
}

#[tokio::test]
async fn a_page_calls_where_no_secret_is_required() {
    calls(|rig| api().layer(cors()).layer(rig.layer())).await;
}
