//! When it looks again, and for whom it waits.

use std::time::Duration;

use crate::{
    open, rows,
    support::{BAD, GOOD, LATER},
};

#[tokio::test]
async fn it_follows_what_happens_and_waits_for_who_reads() {
    let Some((scene, browser)) = open(&[GOOD]).await else {
        return;
    };
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
    browser.assert_no_complaints().await;
}

/// Whoever sets a filter sees it, also where the list is asked for again before the answer comes.
#[tokio::test]
async fn what_was_asked_for_is_shown_although_the_list_is_read() {
    let Some((scene, browser)) = open(&[GOOD, BAD]).await else {
        return;
    };
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
    browser.assert_no_complaints().await;
}

/// However long an answer takes.
#[tokio::test]
async fn it_looks_once_at_a_time() {
    let Some((scene, browser)) = open(&[GOOD]).await else {
        return;
    };
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
