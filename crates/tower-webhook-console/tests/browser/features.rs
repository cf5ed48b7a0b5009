//! What the page can do, with a pointer.

use tower_webhook::outbox::DeliveryState;

use crate::{
    browser::Browser,
    click, open, rows, serve,
    support::{BAD, GOOD, LATER, Scene},
};

/// As if somebody had chosen or written it.
async fn set(browser: &Browser, name: &str, value: &str) {
    browser
        .run(&format!(
            "const field = document.querySelector('#filters').elements['{name}'];
            field.value = '{value}';
            field.dispatchEvent(new Event('change', {{ bubbles: true }}));"
        ))
        .await;
}

#[tokio::test]
async fn pages_and_filters_by_id_and_time_live_in_the_url() {
    let Some(browser) = Browser::open().await else {
        return;
    };
    let scene = Scene::in_memory();
    let oldest = scene.deliver(BAD, "done").await;
    for _ in 0..59 {
        scene.deliver(GOOD, "done").await;
    }
    let page = serve(&scene).await;
    browser.go(&page).await;
    browser.wait_for(&rows(50)).await;
    click(&browser, "#older").await;
    browser.wait_for(&rows(10)).await;
    browser
        .wait_for("location.search.startsWith('?before=')")
        .await;
    click(&browser, "#newest").await;
    browser.wait_for(&rows(50)).await;
    browser.wait_for("location.search === ''").await;

    set(&browser, "id", &oldest.to_string()).await;
    browser.wait_for(&rows(1)).await;
    browser
        .wait_for(&format!("location.search === '?id={oldest}'"))
        .await;
    set(&browser, "id", "call-to-bad").await;
    browser
        .wait_for("location.search === '?id=call-to-bad'")
        .await;
    browser.wait_for(&rows(1)).await;
    set(&browser, "id", "").await;
    browser.wait_for(&rows(50)).await;

    set(&browser, "last", "15m").await;
    browser.wait_for("location.search === '?last=15m'").await;
    set(&browser, "last", "between").await;
    set(&browser, "to", "2001-02-03T04:05:06").await;
    browser.wait_for(&rows(0)).await;
    browser
        .wait_for("location.search.startsWith('?to=981')")
        .await;
    // Back is what was before.
    browser.go(&format!("{page}?state=dead")).await;
    browser.wait_for(&rows(1)).await;
    click(&browser, "#clear").await;
    browser.wait_for(&rows(50)).await;
    browser.run("history.back()").await;
    browser.wait_for(&rows(1)).await;
    browser.assert_no_complaints().await;
}

#[tokio::test]
async fn all_that_match_are_counted_warned_of_and_acted_on() {
    let Some(browser) = Browser::open().await else {
        return;
    };
    let scene = Scene::in_memory();
    let first = scene.deliver(GOOD, "done").await;
    scene.deliver(GOOD, "done").await;
    let waiting = scene.deliver(LATER, "done").await;
    let page = serve(&scene).await;

    browser.go(&format!("{page}?state=delivered")).await;
    browser.wait_for(&rows(2)).await;
    click(&browser, "#redeliver").await;
    browser
        .wait_for("document.querySelector('#confirm').open")
        .await;
    let title = "document.querySelector('#confirm-title').textContent";
    assert_eq!(browser.eval(title).await, "Redeliver at most 2 deliveries?");
    let warning = "document.querySelector('#confirm-warning:not([hidden])').textContent";
    let warning = browser.eval(warning).await;
    assert!(warning.as_str().unwrap().contains("Delivered already"));
    click(&browser, "#confirm-yes").await;
    scene.wait_for(first, DeliveryState::Delivered, 2).await;
    browser
        .wait_for("document.querySelector('#done:not([hidden])')?.textContent === '2 deliveries are on the way again.'")
        .await;

    // One, picked.
    browser.go(&page).await;
    browser.wait_for(&rows(3)).await;
    click(&browser, "#rows tr:has(.of-waiting) input").await;
    click(&browser, "#cancel").await;
    browser
        .wait_for("document.querySelector('#confirm').open")
        .await;
    assert_eq!(browser.eval(title).await, "Cancel 1 delivery?");
    click(&browser, "#confirm-yes").await;
    browser.wait_for(&rows(2)).await;
    let left = scene.dispatcher.delivery(waiting).await.unwrap();
    assert!(left.is_none(), "{left:?}");
    browser.assert_no_complaints().await;
}

#[tokio::test]
async fn a_delivery_has_its_time_line_and_its_payload_in_three_forms() {
    let Some(browser) = Browser::open().await else {
        return;
    };
    let scene = Scene::in_memory();
    let waiting = scene.deliver(LATER, "{\"a\":[1]}").await;
    let page = serve(&scene).await;
    browser.go(&format!("{page}?delivery={waiting}")).await;
    let next = "document.querySelector('#detail .line .next')?.textContent";
    browser
        .wait_for(&format!("{next}?.includes('number 2 · due at ')"))
        .await;
    let last = "document.querySelector('#detail .line li').textContent";
    let last = browser.eval(last).await;
    assert!(last.as_str().unwrap().starts_with("Attempt 1 503"));
    browser
        .run("[...document.querySelectorAll('#detail button')].find((one) => one.textContent.startsWith('Show')).click()")
        .await;
    for (form, text) in [
        ("JSON", "{\n  \"a\": [\n    1\n  ]\n}"),
        ("Text", "{\"a\":[1]}"),
    ] {
        browser
            .wait_for("document.querySelector('#detail .tabs')")
            .await;
        browser
            .run(&format!("[...document.querySelectorAll('#detail .tabs button')].find((one) => one.textContent === '{form}').click()"))
            .await;
        let shown = "document.querySelector('#detail pre').textContent";
        assert_eq!(browser.eval(shown).await, text, "{form}");
    }
    click(&browser, "#detail .tabs button:last-child").await;
    let hex = browser
        .eval("document.querySelector('#detail pre').textContent")
        .await;
    let hex = hex.as_str().unwrap();
    assert!(hex.starts_with("000000  7b 22 61 22"), "{hex}");
    assert!(hex.ends_with("{\"a\":[1]}"), "{hex}");

    // The last hour has one attempt, which failed.
    let figures = "document.querySelector('#figures').textContent.includes('failed1 (100%)')";
    browser.wait_for(figures).await;
    browser
        .wait_for("document.querySelectorAll('#plot svg').length === 2")
        .await;
    browser.assert_no_complaints().await;
}

#[tokio::test]
async fn a_list_that_is_paused_stays_as_it_is() {
    let Some((scene, browser)) = open(&[GOOD]).await else {
        return;
    };
    click(&browser, "#pause").await;
    browser
        .wait_for("document.querySelector('#pace').textContent === 'Paused'")
        .await;
    scene.deliver(GOOD, "done").await;
    // The counts go on, and so the page has looked since.
    browser
        .wait_for("document.querySelector('#states').textContent.includes('delivered2')")
        .await;
    assert_eq!(browser.eval(&rows(1)).await, true);
    click(&browser, "#pause").await;
    browser.wait_for(&rows(2)).await;
    browser.assert_no_complaints().await;
}

#[tokio::test]
async fn what_cannot_be_redelivered_is_told() {
    let Some(browser) = Browser::open().await else {
        return;
    };
    let scene = Scene::without_history_payloads();
    for _ in 0..3 {
        scene.deliver(GOOD, "done").await;
    }
    let page = serve(&scene).await;
    browser.go(&format!("{page}?state=delivered")).await;
    browser.wait_for(&rows(3)).await;
    click(&browser, "#redeliver").await;
    browser
        .wait_for("document.querySelector('#confirm').open")
        .await;
    click(&browser, "#confirm-yes").await;
    let told = "document.querySelector('#confirm-warning:not([hidden])')?.textContent";
    browser
        .wait_for(&format!(
            "{told}?.startsWith('0 of 3 deliveries are on the way again')"
        ))
        .await;
    let shown = "document.querySelector('#confirm').checkVisibility()";
    assert_eq!(browser.eval(shown).await, true);
    click(&browser, "#confirm-no").await;
    // Nor is one of them, where it is looked at.
    click(&browser, "#rows a").await;
    browser
        .wait_for("document.querySelector('#detail .acts button')")
        .await;
    click(&browser, "#detail .acts button").await;
    click(&browser, "#confirm-yes").await;
    browser
        .wait_for(&format!(
            "{told}?.startsWith('0 of 1 delivery is on the way again')"
        ))
        .await;
    // Whoever does not wait for the answer is told all the same.
    browser.go(&format!("{page}?state=delivered")).await;
    browser.wait_for(&rows(3)).await;
    browser
        .run(
            "const real = fetch;
            window.fetch = async (...what) => {
                if (String(what[0]).includes('api/redeliver')) await new Promise((resolve) => { window.goOn = resolve; });
                return real(...what);
            };",
        )
        .await;
    click(&browser, "#redeliver").await;
    browser
        .wait_for("document.querySelector('#confirm').open")
        .await;
    click(&browser, "#confirm-yes").await;
    browser.wait_for("window.goOn").await;
    click(&browser, "#confirm-no").await;
    browser.run("goOn()").await;
    browser
        .wait_for("document.querySelector('#done:not([hidden])')?.textContent.startsWith('0 of 3 deliveries')")
        .await;
    browser.assert_no_complaints().await;
}

#[tokio::test]
async fn whoever_redelivers_failures_is_warned_of_notices() {
    let Some((_scene, browser)) = open(&[GOOD]).await else {
        return;
    };
    browser
        .run(
            "const real = Response.prototype.json;
            Response.prototype.json = async function () {
                const value = await real.call(this);
                for (const one of value.deliveries ?? []) one.state = 'failed';
                return value;
            };",
        )
        .await;
    set(&browser, "last", "1h").await;
    browser
        .wait_for("document.querySelector('#rows .of-failed')")
        .await;
    click(&browser, "#rows input").await;
    click(&browser, "#redeliver").await;
    browser
        .wait_for("document.querySelector('#confirm').open")
        .await;
    let warning = "document.querySelector('#confirm-warning:not([hidden])')?.textContent";
    let warning = browser.eval(warning).await;
    let warning = warning.as_str().expect("there is a warning");
    assert!(
        warning.starts_with("A failure notice may have been taken"),
        "{warning}"
    );
}
