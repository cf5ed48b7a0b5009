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

/// Nobody has checked what is in a file.
#[tokio::test]
async fn times_that_nobody_can_write_are_shown() {
    let Some(browser) = Browser::open().await else {
        return;
    };
    let scene = Scene::in_memory();
    let id = scene.deliver(BAD, "done").await;
    let page = serve(&scene).await;
    browser.go(&page).await;
    browser.wait_for(&rows(1)).await;
    browser
        .run(
            "const real = Response.prototype.json;
            Response.prototype.json = async function () {
                const text = JSON.stringify(await real.call(this));
                return JSON.parse(text.replaceAll(/\"(accepted_at|at|next_at)\":\\d+/g, '\"$1\":18446744073709552000'));
            };",
        )
        .await;
    scene.deliver(BAD, "done").await;
    browser.wait_for(&rows(2)).await;
    let time = "document.querySelector('#rows time').getAttribute('datetime')";
    assert_eq!(browser.eval(time).await, "9999-12-31T23:59:59.000Z");
    browser
        .run(&format!(
            "document.querySelector('[data-id=\"{id}\"] a').click()"
        ))
        .await;
    browser
        .wait_for("document.querySelector('#detail-facts')?.textContent.includes('9999')")
        .await;
    browser.assert_no_complaints().await;
}

/// As somebody opens it whose name and password are in the link.
#[tokio::test]
async fn a_password_in_the_address_is_in_the_way_of_nothing() {
    let Some(browser) = Browser::open().await else {
        return;
    };
    let scene = Scene::in_memory();
    scene.deliver(BAD, "done").await;
    let page = serve(&scene).await;
    browser
        .go(&page.replace("http://", "http://me:a-token-of-some-length@"))
        .await;
    browser.wait_for(&rows(1)).await;
    browser
        .run("document.querySelector('#rows a').click()")
        .await;
    browser
        .wait_for("document.querySelector('#detail-facts')")
        .await;
    browser.assert_no_complaints().await;
}

fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
