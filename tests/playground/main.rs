//! The example that the README shows first, in a real browser: Debian's Chromium.
//!
//! Without one it says that it was skipped, and with `TOWER_WEBHOOK_BROWSER=required` it fails then.

#![cfg(unix)]

#[path = "../support/axe.rs"]
mod axe;
#[path = "../support/browser.rs"]
mod browser;
mod calls;
mod hostile;
mod looks;
mod pictures;
#[path = "../support/process.rs"]
mod process;

use browser::Browser;
use process::Process;

/// The process, and the address of its page.
async fn start() -> (Process, String) {
    let mut playground = Process::example("playground", &[]);
    let line = playground.stdout.line_with("http://").await;
    let url = line.split(' ').find(|word| word.starts_with("http://"));
    (playground, url.unwrap().to_owned())
}

/// With the page open, where there is a browser.
async fn open() -> Option<(Process, String, Browser)> {
    let browser = Browser::open().await?;
    let (playground, url) = start().await;
    browser.resize(1_400, 1_000).await;
    browser.go(&url).await;
    Some((playground, url, browser))
}

/// Chooses what the receiver does, and sends a call.
async fn send(browser: &Browser, settings: &[(&str, &str)]) {
    for (name, value) in settings {
        browser
            .run(&format!(
                "const field = document.querySelector('#form').elements['{name}'];
                field.value = '{value}';
                field.dispatchEvent(new Event('change', {{ bubbles: true }}));"
            ))
            .await;
    }
    browser
        .run("document.querySelector('#form [type=submit]').click()")
        .await;
}

/// Whether the newest call shows this.
fn shows(text: &str) -> String {
    format!("document.querySelector('.call')?.innerText.includes({text:?})")
}
