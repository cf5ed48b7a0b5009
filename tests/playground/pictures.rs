//! The pictures of the README and of the console's page: `.ci/screenshots` takes them.

use std::path::{Path, PathBuf};

use crate::{Process, browser::Browser, open, send, shows};

/// Where they go: those that are shown, and those to look at before.
fn folders() -> (PathBuf, PathBuf) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let all = root.join("target/screenshots");
    std::fs::create_dir_all(&all).unwrap();
    (root.join("docs"), all)
}

async fn take(browser: &Browser, name: &str, url: &str, is_ready: &str) {
    let (_, all) = folders();
    for scheme in ["light", "dark"] {
        browser.prefer(scheme).await;
        for (width, height) in [(360, 1_600), (800, 1_600), (1_400, 1_000)] {
            browser.resize(width, height).await;
            browser.go(url).await;
            browser.wait_for(is_ready).await;
            let open = "document.querySelector('.call details')?.setAttribute('open', '')";
            browser.run(open).await;
            let file = all.join(format!("{name}-{width}-{scheme}.png"));
            browser.screenshot(&file).await;
        }
    }
}

#[tokio::test]
#[ignore = "takes pictures"]
async fn pictures_of_the_playground() {
    let (docs, _) = folders();
    let (_playground, url, browser) = open().await.expect("a browser");
    browser.hide_scrollbars().await;
    browser.prefer("light").await;
    browser.resize(1_080, 1_160).await;
    let counts = |text: &str| {
        format!("frames[0].document.querySelector('#states').textContent.includes('{text}')")
    };
    send(&browser, &[("does", "take"), ("body", "Grace")]).await;
    browser.wait_for(&counts("delivered1")).await;
    let fails = [("does", "status"), ("attempts", "9"), ("body", "Ada")];
    send(&browser, &fails).await;
    browser.wait_for(&counts("waiting1")).await;
    browser.wait_for(&shows("Next attempt in 3 s")).await;
    browser.screenshot(&docs.join("playground.png")).await;
    browser.wait_for(&shows("dead")).await;
    let ready = "document.querySelectorAll('.call .of-dead, .call .of-delivered').length === 2 && frames[0].document.querySelectorAll('#rows tr').length === 2";
    take(&browser, "playground", &url, ready).await;
}

#[tokio::test]
#[ignore = "takes pictures"]
async fn pictures_of_the_console() {
    let (docs, _) = folders();
    let browser = Browser::open().await.expect("a browser");
    browser.hide_scrollbars().await;
    let test = std::env::current_exe().unwrap();
    let built = test.ancestors().nth(2).unwrap();
    let mut demo = Process::start(built.join("examples/demo"), &[], &[("PORT", "0")]);
    let url = demo.stdout.line_with("http://").await;
    let url = url.trim();
    browser.resize(1_200, 800).await;
    browser.go(url).await;
    let ready = "document.querySelectorAll('#rows tr').length >= 40";
    browser.wait_for(ready).await;
    take(&browser, "console", url, ready).await;
    let retried = "[...document.querySelectorAll('#rows tr:has(.of-waiting) .aside')]
        .find((one) => one.textContent.includes('50'))";
    browser.wait_for(retried).await;
    let one = format!("{retried}?.closest('tr').querySelector('a').href");
    let one = browser.eval(&one).await;
    let one = one.as_str().unwrap();
    let opened = "document.querySelector('#detail')?.open && document.querySelector('#rows tr')";
    browser.prefer("light").await;
    browser.resize(1_200, 800).await;
    browser.go(one).await;
    browser.wait_for(opened).await;
    browser.screenshot(&docs.join("console.png")).await;
    take(&browser, "console-delivery", one, opened).await;
}
