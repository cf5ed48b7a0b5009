//! The page in a real browser: Debian's Chromium.
//!
//! Without one it says that it was skipped, and with `TOWER_WEBHOOK_BROWSER=required` it fails then.

#[path = "support/browser.rs"]
mod browser;
mod support;

use std::time::Duration;

use browser::Browser;
use support::{BAD, GOOD, LATER, Scene};
use tokio::net::TcpListener;
use tower_webhook::outbox::DeliveryState;

const HOSTILE: &str =
    "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">";

async fn serve(scene: &Scene) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = scene.app.clone();
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}/some/webhooks")
}

fn rows(number: usize) -> String {
    format!("document.querySelectorAll('#rows tr').length === {number}")
}

const FOCUSED: &str = "document.activeElement.textContent";

#[tokio::test]
async fn the_page_shows_filters_and_acts_by_keyboard_alone() {
    let Some(mut browser) = Browser::open().await else {
        return;
    };
    let scene = Scene::in_memory();
    let dead = scene.deliver(BAD, HOSTILE).await;
    scene.deliver(GOOD, "{\"a\": 1}").await;
    scene.deliver(LATER, "done").await;
    let page = serve(&scene).await;

    browser.resize(1_400).await;
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
    assert_eq!(browser.complaints, Vec::<String>::new());
}

#[tokio::test]
async fn it_follows_what_happens_and_waits_for_who_reads() {
    let Some(mut browser) = Browser::open().await else {
        return;
    };
    let scene = Scene::in_memory();
    scene.deliver(GOOD, "done").await;
    let page = serve(&scene).await;
    browser.go(&page).await;
    browser.wait_for(&rows(1)).await;
    scene.deliver(GOOD, "done").await;
    browser.wait_for(&rows(2)).await;
    browser.press("j").await;
    scene.deliver(GOOD, "done").await;
    browser
        .wait_for("!document.querySelector('#fresh').hidden")
        .await;
    assert_eq!(browser.eval(&rows(2)).await, true);
    browser
        .eval("document.querySelector('#fresh').click()")
        .await;
    browser.wait_for(&rows(3)).await;
    assert_eq!(browser.complaints, Vec::<String>::new());
}

/// Whoever sets a filter sees it, also where the list is asked for again before the answer comes.
#[tokio::test]
async fn what_was_asked_for_is_shown_although_the_list_is_read() {
    let Some(mut browser) = Browser::open().await else {
        return;
    };
    let scene = Scene::in_memory();
    scene.deliver(GOOD, "done").await;
    scene.deliver(BAD, "done").await;
    let page = serve(&scene).await;
    browser.go(&page).await;
    browser.wait_for(&rows(2)).await;
    browser.press("j").await;
    // The first answer never comes.
    browser
        .eval(&format!(
            "(() => {{ const real = fetch; let isFirst = true;
            window.fetch = (...what) => {{
                if (!isFirst || !String(what[0]).includes('api/deliveries?')) return real(...what);
                isFirst = false;
                return new Promise(() => {{}});
            }};
            const form = document.querySelector('#filters');
            form.elements.host.value = '{BAD}';
            form.dispatchEvent(new Event('change')); }})()"
        ))
        .await;
    browser
        .wait_for(&format!("location.search === '?host={BAD}'"))
        .await;
    // It looks again.
    scene.deliver(LATER, "done").await;
    browser.wait_for(&rows(1)).await;
    assert_eq!(browser.complaints, Vec::<String>::new());
}

/// However long an answer takes.
#[tokio::test]
async fn it_looks_once_at_a_time() {
    let Some(mut browser) = Browser::open().await else {
        return;
    };
    let scene = Scene::in_memory();
    scene.deliver(GOOD, "done").await;
    let page = serve(&scene).await;
    browser.go(&page).await;
    browser.wait_for(&rows(1)).await;
    browser
        .eval(
            "(() => { const real = fetch;
            window.looks = { now: 0, most: 0, all: 0 };
            window.fetch = async (...what) => {
                if (!String(what[0]).includes('api/deliveries?')) return real(...what);
                looks.now += 1;
                looks.all += 1;
                looks.most = Math.max(looks.most, looks.now);
                await new Promise((resolve) => setTimeout(resolve, 4000));
                looks.now -= 1;
                return real(...what);
            }; })()",
        )
        .await;
    let deliver = async {
        loop {
            scene.deliver(GOOD, "done").await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::select! {
        () = browser.wait_for("looks.all >= 3") => {}
        () = deliver => {}
    }
    assert_eq!(browser.eval("looks.most").await, 1);
}

#[tokio::test]
async fn it_fits_every_width_in_both_schemes_and_can_be_read() {
    let Some(mut browser) = Browser::open().await else {
        return;
    };
    let scene = Scene::in_memory();
    scene.deliver(BAD, HOSTILE).await;
    let delivered = scene.deliver(GOOD, "done").await;
    let page = serve(&scene).await;
    for scheme in ["light", "dark"] {
        browser.prefer(scheme).await;
        for width in [360, 800, 1_400] {
            browser.resize(width).await;
            browser.go(&format!("{page}?delivery={delivered}")).await;
            browser
                .wait_for("document.querySelector('#detail')?.open")
                .await;
            browser.wait_for(&rows(2)).await;
            let too_wide = browser
                .eval("document.documentElement.scrollWidth - innerWidth")
                .await;
            assert!(
                too_wide.as_i64().unwrap() <= 0,
                "{scheme} {width}: {too_wide}"
            );
            assert_eq!(browser.eval(&contrast()).await, "", "{scheme} {width}");
            assert_eq!(browser.eval(NAMELESS).await, 0, "{scheme} {width}");
        }
        let ground = browser
            .eval("getComputedStyle(document.body).backgroundColor")
            .await;
        assert_eq!(
            ground,
            if scheme == "light" {
                "rgb(246, 247, 249)"
            } else {
                "rgb(17, 20, 25)"
            }
        );
    }
    assert_eq!(browser.complaints, Vec::<String>::new());
}

/// Controls that a screen reader would call nothing.
const NAMELESS: &str =
    "[...document.querySelectorAll('button:not([hidden]), a, input, select')].filter((one) =>
    one.checkVisibility() && !(one.textContent.trim() || one.getAttribute('aria-label') || one.labels?.length)).length";

/// The texts whose contrast is below 4.5 (WCAG 2.2, 1.4.3).
fn contrast() -> String {
    r"(() => {
        const parts = (color) => color.match(/[\d.]+/g).map(Number);
        const light = (color) => {
            const [r, g, b] = parts(color).map((part) => part / 255)
                .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const ground = (one) => {
            const color = getComputedStyle(one).backgroundColor;
            return (parts(color)[3] ?? 1) === 0 && one.parentElement ? ground(one.parentElement) : color;
        };
        const faint = [];
        for (const one of document.querySelectorAll('body *')) {
            const hasText = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
            if (!hasText || !one.checkVisibility() || one.closest(':disabled, script, style, svg')) continue;
            const [a, b] = [light(getComputedStyle(one).color), light(ground(one))];
            const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            if (ratio < 4.5) faint.push(`${one.textContent}: ${ratio.toFixed(2)}`);
        }
        return faint.join('\n');
    })()"
    .to_owned()
}
