//! How it looks, and to whom.

use crate::{
    HOSTILE,
    axe::Axe,
    browser::Browser,
    rows, serve,
    support::{BAD, GOOD, Scene},
};

#[tokio::test]
async fn it_fits_every_width_in_both_schemes_and_can_be_read() {
    let axe = Axe::find();
    let Some(browser) = Browser::open().await else {
        return;
    };
    let scene = Scene::in_memory();
    scene.deliver(BAD, HOSTILE).await;
    let delivered = scene.deliver(GOOD, "done").await;
    let page = serve(&scene).await;
    for scheme in ["light", "dark"] {
        browser.prefer(scheme).await;
        for width in [360, 800, 1_400] {
            browser.resize(width, 800).await;
            browser.go(&format!("{page}?delivery={delivered}")).await;
            browser
                .wait_for("document.querySelector('#detail')?.open")
                .await;
            browser.wait_for(&rows(2)).await;
            browser.assert_fits(&format!("{scheme} {width}")).await;
            assert_eq!(browser.eval(&contrast()).await, "", "{scheme} {width}");
            assert_eq!(axe.findings(&browser).await, "", "{scheme} {width}");
            assert_eq!(browser.eval(NAMELESS).await, 0, "{scheme} {width}");
            // The list without a dialog before it, and the question that comes before an action.
            for (script, is_done) in [
                (
                    "document.querySelector('#detail').close()",
                    "!location.search.includes('delivery')",
                ),
                (
                    "document.querySelector('#rows input').click()",
                    "document.querySelector('#redeliver').textContent.includes('picked')",
                ),
                (
                    "document.querySelector('#redeliver').click()",
                    "document.querySelector('#confirm').open",
                ),
            ] {
                browser.run(script).await;
                browser.wait_for(is_done).await;
                let findings = axe.findings(&browser).await;
                assert_eq!(findings, "", "{scheme} {width}: {script}");
            }
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
    browser.assert_no_complaints().await;
}

/// A phone that is turned.
#[tokio::test]
async fn filters_are_there_where_there_is_room() {
    let Some(browser) = Browser::open().await else {
        return;
    };
    let scene = Scene::in_memory();
    scene.deliver(GOOD, "done").await;
    let page = serve(&scene).await;
    browser.resize(390, 844).await;
    browser.go(&page).await;
    browser.wait_for(&rows(1)).await;
    let shown = "document.querySelector('[name=host]').checkVisibility()";
    assert_eq!(browser.eval(shown).await, false);
    browser.resize(844, 390).await;
    browser.wait_for(shown).await;
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
