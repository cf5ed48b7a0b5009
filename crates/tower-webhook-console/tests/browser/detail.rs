//! One delivery that is looked at, and what may come between.

use tower_webhook::outbox::DeliveryFilter;

use crate::{
    browser::Browser,
    click, rows, serve,
    support::{BAD, GOOD, LATER, Scene},
};

/// From now on what the page asks for one delivery goes through this.
async fn intercept(browser: &Browser, script: &str) {
    let script = format!(
        "const real = fetch; window.looks = 0;
        window.fetch = async (...what) => {{
            const url = String(what[0]);
            if (!url.includes('api/delivery?')) return real(...what);
            window.looks += 1;
            {script}
            return real(...what);
        }};"
    );
    browser.run(&script).await;
}

#[tokio::test]
async fn a_look_that_fails_takes_nothing_away_and_is_not_the_last_one() {
    let Some(browser) = Browser::open().await else {
        return;
    };
    let scene = Scene::in_memory();
    let id = scene.deliver(LATER, "done").await;
    let page = serve(&scene).await;
    browser.go(&format!("{page}?delivery={id}")).await;
    let facts = "document.querySelector('#detail-facts')";
    browser.wait_for(facts).await;
    intercept(&browser, "if (window.fails) throw new Error('away');").await;
    browser.run("window.fails = true").await;
    scene.deliver(GOOD, "done").await;
    let told =
        "document.querySelector('#detail-problem:not([hidden])')?.textContent.includes('reached')";
    browser.wait_for(told).await;
    assert_eq!(browser.eval(&format!("Boolean({facts})")).await, true);
    browser.run("window.fails = false").await;
    let one = DeliveryFilter::new().with_id(id);
    assert_eq!(scene.dispatcher.cancel(&one).await.unwrap(), 1);
    browser
        .wait_for("document.querySelector('#detail').textContent.includes('not kept any more')")
        .await;
}

#[tokio::test]
async fn a_delivery_that_could_not_be_read_at_first_is_read_later() {
    let Some(browser) = Browser::open().await else {
        return;
    };
    let scene = Scene::in_memory();
    scene.deliver(BAD, "done").await;
    let page = serve(&scene).await;
    browser.go(&page).await;
    browser.wait_for(&rows(1)).await;
    intercept(&browser, "if (window.looks === 1) throw new Error('away');").await;
    click(&browser, "#rows a").await;
    browser
        .wait_for("document.querySelector('#detail').open")
        .await;
    browser
        .wait_for("document.querySelector('#detail-facts')")
        .await;
    browser
        .wait_for("document.querySelector('#detail-problem').hidden")
        .await;
}

#[tokio::test]
async fn a_late_failure_is_of_the_delivery_that_was_asked_for() {
    let Some(browser) = Browser::open().await else {
        return;
    };
    let scene = Scene::in_memory();
    let first = scene.deliver(BAD, "done").await;
    let second = scene.deliver(GOOD, "done").await;
    let page = serve(&scene).await;
    browser.go(&page).await;
    browser.wait_for(&rows(2)).await;
    let script = format!(
        "if (url.includes('{first}')) await new Promise((resolve, reject) => {{ window.fail = reject; }});"
    );
    intercept(&browser, &script).await;
    click(&browser, &format!("[data-id=\"{first}\"] a")).await;
    browser.wait_for("window.fail").await;
    click(&browser, &format!("[data-id=\"{second}\"] a")).await;
    let shown =
        format!("document.querySelector('#detail-facts')?.textContent.includes('{second}')");
    browser.wait_for(&shown).await;
    // What waits for it has had its turn before the next question is answered.
    browser
        .eval("(fail(new Error('late')), new Promise((resolve) => setTimeout(resolve)))")
        .await;
    assert_eq!(browser.eval(&shown).await, true);
    browser.assert_no_complaints().await;
}

/// Indentation alone would be half a gigabyte.
#[tokio::test]
async fn a_payload_that_is_nested_deeply_is_text() {
    let Some(browser) = Browser::open().await else {
        return;
    };
    let scene = Scene::in_memory();
    let nested: &'static str =
        Box::leak(format!("{}{}", "[".repeat(3_000), "]".repeat(3_000)).into());
    let id = scene.deliver(BAD, nested).await;
    let page = serve(&scene).await;
    browser.go(&format!("{page}?delivery={id}")).await;
    let show = "#detail-body > div:last-child button";
    browser
        .wait_for(&format!("document.querySelector('{show}')"))
        .await;
    click(&browser, show).await;
    let tabs = "[...document.querySelectorAll('#detail .tabs button')].map((one) => one.textContent).join()";
    browser.wait_for(tabs).await;
    assert_eq!(browser.eval(tabs).await, "Text,Hex");
    browser.assert_no_complaints().await;
}
