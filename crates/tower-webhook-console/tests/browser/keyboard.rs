//! Everything, with keys alone.

use tower_webhook::outbox::DeliveryState;

use crate::{
    HOSTILE,
    browser::Browser,
    rows, serve,
    support::{BAD, GOOD, LATER, Scene},
};

const FOCUSED: &str = "document.activeElement.textContent";

#[tokio::test]
async fn the_page_shows_filters_and_acts_by_keyboard_alone() {
    let Some(browser) = Browser::open().await else {
        return;
    };
    let scene = Scene::in_memory();
    let dead = scene.deliver(BAD, HOSTILE).await;
    scene.deliver(GOOD, "{\"a\": 1}").await;
    scene.deliver(LATER, "done").await;
    let page = serve(&scene).await;

    browser.resize(1_400, 800).await;
    browser.go(&page).await;
    browser.wait_for(&rows(3)).await;
    browser
        .wait_for("document.querySelector('#states').textContent.includes('dead1')")
        .await;

    // The filter goes to the URL, and comes from there.
    browser.press("/").await;
    browser.write(BAD).await;
    browser.press("Enter").await;
    browser.wait_for(&rows(1)).await;
    browser
        .wait_for(&format!("location.search === '?host={BAD}'"))
        .await;
    browser.go(&format!("{page}/?state=delivered")).await;
    browser.wait_for(&rows(1)).await;
    browser
        .wait_for("document.querySelector('[name=state]').value === 'delivered'")
        .await;

    // A delivery is opened, its payload is shown, and nothing in it runs.
    browser.go(&format!("{page}?state=dead")).await;
    browser.wait_for(&rows(1)).await;
    browser.press("j").await;
    assert_eq!(browser.eval(FOCUSED).await, BAD);
    browser.press("Enter").await;
    browser
        .wait_for("document.querySelector('#detail').open")
        .await;
    browser
        .wait_for("document.querySelector('#detail').textContent.includes('410')")
        .await;
    browser
        .tab_to("document.activeElement.textContent.startsWith('Show the payload')")
        .await;
    browser.press("Enter").await;
    browser
        .wait_for("document.querySelector('#detail pre')")
        .await;
    assert_eq!(
        browser
            .eval("document.querySelector('#detail pre').textContent")
            .await,
        HOSTILE
    );
    assert_eq!(browser.eval("document.images.length").await, 0);
    assert_eq!(browser.eval("document.title").await, "Webhooks");
    browser.press("Escape").await;
    browser
        .wait_for(
            "!document.querySelector('#detail').open && !location.search.includes('delivery')",
        )
        .await;
    browser.wait_for(&format!("{FOCUSED} === '{BAD}'")).await;

    // An open delivery follows what becomes of it, and a payload that is shown stays.
    browser.press("Enter").await;
    browser
        .wait_for(
            "document.querySelector('#detail').open && document.querySelector('#detail-facts')",
        )
        .await;
    browser
        .tab_to("document.activeElement.textContent === 'Redeliver…'")
        .await;
    browser.press("Enter").await;
    browser
        .wait_for("document.querySelector('#confirm').open")
        .await;
    browser
        .tab_to("document.activeElement.id === 'confirm-yes'")
        .await;
    browser.press("Enter").await;
    browser
        .wait_for("document.querySelectorAll('#detail .line li:not(.next)').length === 2")
        .await;
    browser.press("Escape").await;
    browser
        .wait_for("!document.querySelector('#detail').open")
        .await;

    // It is redelivered from the list, once that was confirmed.
    browser
        .tab_to("document.activeElement.id === 'redeliver'")
        .await;
    browser.press("Enter").await;
    browser
        .wait_for(
            "document.querySelector('#confirm').open && document.querySelector('#confirm-title').textContent === 'Redeliver 1 delivery?'",
        )
        .await;
    assert_eq!(browser.eval(FOCUSED).await, "Leave it");
    browser.press("Tab").await;
    browser.press("Enter").await;
    browser
        .wait_for("!document.querySelector('#confirm').open")
        .await;
    scene.wait_for(dead, DeliveryState::Dead, 3).await;
    browser.assert_no_complaints().await;
}
