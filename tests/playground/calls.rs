//! What is shown of a call.

use crate::{browser::Browser, open, send, shows};

const STATE: &str = "document.querySelector('.call .state')?.textContent";
const ATTEMPTS: &str = "document.querySelectorAll('.call .line li:not(.next)').length";
const FOCUSED: &str = "document.activeElement";

#[tokio::test]
async fn a_call_its_webhook_and_its_retries_are_shown_by_keyboard_alone() {
    let Some((_playground, _, browser)) = open().await else {
        return;
    };
    // It may be there for a moment only.
    browser
        .run(
            "window.told = new Set();
            const note = () => document.querySelectorAll('.next:not([hidden])')
                .forEach((one) => told.add(one.textContent.slice(0, 'Next attempt'.length)));
            const all = { attributes: true, characterData: true, childList: true, subtree: true };
            new MutationObserver(note).observe(document.querySelector('#list'), all);",
        )
        .await;
    browser.tab_to(&format!("{FOCUSED}.name === 'body'")).await;
    browser.press("End").await;
    browser.write(" Lovelace").await;
    browser.tab_to(&format!("{FOCUSED}.name === 'does'")).await;
    for (key, does) in [("ArrowDown", "late"), ("ArrowUp", "status")] {
        browser.press(key).await;
        browser
            .wait_for(&format!("{FOCUSED}.value === '{does}'"))
            .await;
    }
    browser
        .tab_to(&format!("{FOCUSED}.textContent === 'Send the call'"))
        .await;
    browser.press("Enter").await;

    browser
        .wait_for(&shows(r#"{"greeting":"Hello, Ada Lovelace!"}"#))
        .await;
    browser.wait_for(&format!("{STATE} === 'delivered'")).await;
    assert_eq!(browser.eval(ATTEMPTS).await, 3);
    assert_eq!(browser.eval("[...told].join()").await, "Next attempt");
    let outcomes =
        "[...document.querySelectorAll('.call .outcome')].map((one) => one.textContent).join()";
    assert_eq!(browser.eval(outcomes).await, "503,503,204");
    let checks =
        "[...document.querySelectorAll('.call .check')].map((one) => one.textContent).join()";
    let right = "The signature is right.";
    assert_eq!(browser.eval(checks).await, [right; 3].join(","));

    // The webhook as it came.
    browser
        .tab_to(&format!(
            "{FOCUSED}.textContent === 'The webhook as the receiver got it'"
        ))
        .await;
    browser.press("Enter").await;
    browser.wait_for(&shows("x-webhook-attempt")).await;
    browser.wait_for(&shows("webhook-signature")).await;

    // The console has it, too, and opens it.
    browser
        .wait_for("frames[0].document.querySelectorAll('#rows tr').length === 1")
        .await;
    browser
        .run("document.querySelector('.call .bar a').click()")
        .await;
    browser
        .wait_for("frames[0].document.querySelector('#detail')?.open && frames[0].document.querySelectorAll('#detail .line li').length === 3")
        .await;
    browser.assert_no_complaints().await;
}

#[tokio::test]
async fn each_failure_of_the_receiver_is_shown_as_what_it_is() {
    let Some((_playground, _, browser)) = open().await else {
        return;
    };
    for (does, attempts, texts) in [
        ("take", "1", &["delivered", "The receiver answers 204."][..]),
        ("late", "1", &["Attempt 1 timed out", "delivered"]),
        (
            "close",
            "1",
            &["The receiver closes the connection.", "delivered"],
        ),
        (
            "certificate",
            "1",
            &["The receiver got nothing.", "Attempt 2"],
        ),
        (
            "secret",
            "1",
            &["Refused: ", "The receiver answers 401.", "dead"],
        ),
    ] {
        send(&browser, &[("does", does), ("attempts", attempts)]).await;
        for text in texts {
            browser.wait_for(&shows(text)).await;
        }
    }
    assert_eq!(
        browser
            .eval("document.querySelectorAll('.call').length")
            .await,
        5
    );

    // Without a secret there is no signature.
    send(&browser, &[("does", "take"), ("secret", "")]).await;
    browser
        .wait_for(&shows("The call had no secret, so there is no signature."))
        .await;
    browser.wait_for(&shows("delivered")).await;
    browser.assert_no_complaints().await;
}

/// In the console: all that it can be done to, once there is some.
async fn act(browser: &Browser, action: &str) {
    let done = browser
        .eval(&format!(
            "(async () => {{
                const token = frames[0].document.querySelector('meta[name=\"console-token\"]').content;
                const options = {{ method: 'POST', headers: {{ 'x-console-token': token }} }};
                for (;;) {{
                    const answer = await fetch('console/api/{action}?all=1', options);
                    const {{ number }} = await answer.json();
                    if (number) return number;
                }}
            }})()"
        ))
        .await;
    assert_eq!(done, 1);
}

#[tokio::test]
async fn what_the_console_does_to_a_call_is_shown() {
    let Some((_playground, _, browser)) = open().await else {
        return;
    };
    browser
        .wait_for("frames[0].document.querySelector('meta[name=\"console-token\"]')")
        .await;
    send(&browser, &[("does", "secret")]).await;
    browser.wait_for(&format!("{STATE} === 'dead'")).await;
    act(&browser, "redeliver").await;
    browser.wait_for(&format!("{ATTEMPTS} === 2")).await;
    browser.wait_for(&format!("{STATE} === 'dead'")).await;
    let outcomes =
        "[...document.querySelectorAll('.call .outcome')].map((one) => one.textContent).join()";
    assert_eq!(browser.eval(outcomes).await, "401,401");

    send(&browser, &[("does", "status"), ("attempts", "9")]).await;
    browser.wait_for(&shows("Next attempt")).await;
    act(&browser, "cancel").await;
    browser.wait_for(&format!("{STATE} === 'given up'")).await;
    let next = "document.querySelector('.call .next:not([hidden])')";
    assert!(browser.eval(next).await.is_null());
    browser.assert_no_complaints().await;
}

#[tokio::test]
async fn the_line_for_curl_makes_the_same_call() {
    let Some((_playground, url, browser)) = open().await else {
        return;
    };
    send(&browser, &[("does", "take")]).await;
    browser.wait_for(&shows("delivered")).await;
    let curl = browser
        .eval("document.querySelector('[aria-label=\"The call with curl\"]').textContent")
        .await;
    let curl = curl.as_str().unwrap();
    let call = curl
        .split('\'')
        .find(|part| part.starts_with(&url))
        .unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let secret = "a-value-of-your-choice";
    assert!(
        curl.contains(&format!("X-Webhook-Secret: {secret}")),
        "{curl}"
    );
    let call = client
        .post(call)
        .header("x-webhook-secret", secret)
        .body("Grace");
    assert_eq!(call.send().await.unwrap().status(), 200);
    browser
        .wait_for(&shows("Whoever made the call has it."))
        .await;
    browser.wait_for(&shows("The signature is right.")).await;

    // Whoever opens the page later sees what was before.
    browser.go(&url).await;
    browser
        .wait_for("document.querySelectorAll('.call .of-delivered').length === 2")
        .await;
}
