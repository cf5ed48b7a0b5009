//! What somebody hears who does not see the page.

use crate::{
    click, open,
    support::{BAD, GOOD},
};

#[tokio::test]
async fn a_question_comes_with_what_it_means() {
    let Some((_scene, browser)) = open(&[GOOD]).await else {
        return;
    };
    click(&browser, "#rows input").await;
    click(&browser, "#redeliver").await;
    browser
        .wait_for("document.querySelector('#confirm').open")
        .await;
    let described =
        "document.querySelector('#confirm').getAttribute('aria-describedby')?.split(' ')
        .map((id) => document.getElementById(id).textContent).join(' ')";
    let described = browser.eval(described).await;
    let described = described.as_str().expect("it is described");
    assert!(described.contains("attempted again"), "{described}");
    assert!(described.contains("Delivered already"), "{described}");
    let role = "document.querySelector('#confirm-warning').getAttribute('role')";
    assert_eq!(browser.eval(role).await, "alert");
}

/// A reader that stands on one would lose its place.
#[tokio::test]
async fn what_has_not_changed_is_not_made_anew() {
    let Some((_scene, browser)) = open(&[GOOD, BAD]).await else {
        return;
    };
    let looks = "performance.getEntriesByType('resource').filter((one) => one.name.includes('api/summary')).length";
    browser
        .wait_for(&format!(
            "document.querySelector('#states button') && {looks} >= 1"
        ))
        .await;
    browser
        .run("for (const one of document.querySelectorAll('#rows tr, #states button')) one.isOld = true")
        .await;
    browser
        .run("setInterval(() => document.dispatchEvent(new Event('visibilitychange')), 100)")
        .await;
    let seen = browser.eval(looks).await;
    // The list is read before the counts are.
    browser.wait_for(&format!("{looks} > {seen} + 1")).await;
    let are_old = "[...document.querySelectorAll('#rows tr, #states button')].filter((one) => one.isOld).length";
    assert_eq!(browser.eval(are_old).await, 2 + 5);
    browser.assert_no_complaints().await;
}
