//! The page in a real browser: Debian's Chromium, driven by Debian's chromedriver.
//!
//! Without one it says that it was skipped, and with `TOWER_WEBHOOK_BROWSER=required` it fails then.

#![cfg(unix)]

#[path = "../../../../tests/support/axe.rs"]
mod axe;
#[path = "../../../../tests/support/browser.rs"]
mod browser;
mod detail;
mod features;
mod following;
mod hostile;
mod keyboard;
mod looks;
mod reader;
mod streams;
#[path = "../support/mod.rs"]
mod support;

use axum::Router;
use browser::Browser;
use support::Scene;
use tokio::net::TcpListener;

const HOSTILE: &str =
    "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">";

async fn serve(scene: &Scene) -> String {
    serve_app(scene.app.clone()).await
}

/// What stands before the page may answer in its place.
async fn serve_app(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}/some/webhooks")
}

/// The page, which lists a delivery to each of these hosts, where there is a browser.
async fn open(hosts: &[&str]) -> Option<(Scene, Browser)> {
    let browser = Browser::open().await?;
    let scene = Scene::in_memory();
    for host in hosts {
        scene.deliver(host, "done").await;
    }
    let page = serve(&scene).await;
    browser.go(&page).await;
    browser.wait_for(&rows(hosts.len())).await;
    Some((scene, browser))
}

fn rows(number: usize) -> String {
    format!("document.querySelectorAll('#rows tr').length === {number}")
}

async fn click(browser: &Browser, selector: &str) {
    let script = format!("document.querySelector('{selector}').click()");
    browser.run(&script).await;
}
