//! What others may try.

use crate::{
    HOSTILE,
    browser::Browser,
    rows, serve,
    support::{BAD, Scene},
};

#[tokio::test]
async fn no_script_runs_but_the_page_s_own_whatever_the_url_says() {
    let Some(browser) = Browser::open().await else {
        return;
    };
    let scene = Scene::in_memory();
    scene.deliver(BAD, HOSTILE).await;
    let page = serve(&scene).await;
    browser.go(&page).await;
    browser.wait_for(&rows(1)).await;
    browser.assert_policy_holds().await;

    let hostile = percent_encoded(HOSTILE);
    for name in ["state", "host", "id", "last", "from", "before", "delivery"] {
        browser.go(&format!("{page}?{name}={hostile}")).await;
        let shown =
            "!document.querySelector('#problem').hidden || !document.querySelector('#empty').hidden
            || document.querySelector('#detail').open";
        browser.wait_for(shown).await;
        assert_eq!(browser.eval("document.title").await, "Webhooks", "{name}");
        assert_eq!(browser.eval("document.images.length").await, 0, "{name}");
    }
    // What the outbox cannot look for is answered with 400, which the browser notes, and nothing else is.
    let is_refused = |complaint: &String| complaint.contains("status of 400");
    let complaints = browser.complaints().await;
    assert!(complaints.iter().all(is_refused), "{complaints:#?}");
}

fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
