//! A page of another origin calls an API that has the layer, in a real browser: Debian's Chromium.
//!
//! Without one it says that it was skipped, and with `TOWER_WEBHOOK_BROWSER=required` it fails then.

#![cfg(unix)]

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

#[path = "support/chromium.rs"]
mod chromium;
#[path = "support/mod.rs"]
mod support;

use chromium::{Chromium, STARTING};
use support::rig::Rig;

const SECRET: &str = "a-value-of-your-choice";

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

    let Some(browser) = Chromium::open(&site) else {
        return;
    };
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
