//! How it looks, and to whom.

use crate::{axe::Axe, open, send, shows};

#[tokio::test]
async fn it_fits_every_width_in_both_schemes_and_axe_finds_nothing() {
    let axe = Axe::find();
    let Some((_playground, url, browser)) = open().await else {
        return;
    };
    send(&browser, &[("does", "secret")]).await;
    browser.wait_for(&shows("dead")).await;
    send(&browser, &[("does", "close"), ("attempts", "9")]).await;
    browser.wait_for(&shows("Attempt 2")).await;
    for scheme in ["light", "dark"] {
        browser.prefer(scheme).await;
        for width in [360, 800, 1_400] {
            browser.resize(width, 900).await;
            browser.go(&url).await;
            browser
                .wait_for("document.querySelectorAll('.call .line li').length > 3")
                .await;
            browser
                .run("for (const one of document.querySelectorAll('details')) one.open = true")
                .await;
            browser.assert_fits(&format!("{scheme} {width}")).await;
            assert_eq!(axe.findings(&browser).await, "", "{scheme} {width}");
        }
    }
    axe.finds_what_is_planted(&browser).await;
    browser.assert_no_complaints().await;
}
