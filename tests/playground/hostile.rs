//! What callers, receivers and other sites may try.

use http::header::{CONTENT_SECURITY_POLICY, HOST};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{open, process::within, send, shows, start};

const HOSTILE: &str =
    "<script>document.title='taken'</script><img src=x onerror=document.title='taken'>";

#[tokio::test]
async fn what_is_hostile_is_shown_as_text() {
    let Some((_playground, url, browser)) = open().await else {
        return;
    };
    // In the call's body and secret, and so in the response and the webhook.
    let settings = "const form = document.querySelector('#form');";
    let json = serde_json::to_string(HOSTILE).unwrap();
    browser
        .run(&format!(
            "{settings} form.elements.body.value = {json}; form.elements.secret.value = {json}"
        ))
        .await;
    send(&browser, &[("does", "take")]).await;
    browser.wait_for(&shows("delivered")).await;
    let greeting = serde_json::json!({ "greeting": format!("Hello, {HOSTILE}!") }).to_string();
    for part in ["Response", "Body of the webhook"] {
        let text = format!("document.querySelector('.call [aria-label=\"{part}\"]').textContent");
        assert_eq!(browser.eval(&text).await, greeting, "{part}");
    }

    // A webhook that is none: whoever knows the receiver's port sends what it likes.
    let curl = browser
        .eval("document.querySelector('[aria-label=\"The call with curl\"]').textContent")
        .await;
    let (_, endpoint) = curl
        .as_str()
        .unwrap()
        .rsplit_once("webhookEndpoint=")
        .unwrap();
    let endpoint = endpoint
        .trim_end_matches('\'')
        .replace("%3A", ":")
        .replace("%2F", "/");
    let address = endpoint.trim_start_matches("http://");
    let (address, path) = address.split_once('/').unwrap();
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST /{path} HTTP/1.1\r\nhost: {HOSTILE}\r\nx-request-id: {HOSTILE}\r\nx-hostile: {HOSTILE}\r\n\
         x-webhook-attempt: {HOSTILE}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{HOSTILE}",
        HOSTILE.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within(socket.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    browser
        .wait_for(&format!(
            "document.querySelector('.call code').textContent === {json}"
        ))
        .await;
    browser.wait_for(&shows("Refused: ")).await;
    browser
        .run("document.querySelector('.call .line summary').click()")
        .await;
    browser.wait_for(&shows("x-hostile")).await;
    let values = format!(
        "[...document.querySelectorAll('.call td')].filter((one) => one.textContent === {json}).length"
    );
    assert_eq!(browser.eval(&values).await, 4);

    assert_eq!(browser.eval("document.title").await, "Webhook playground");
    assert_eq!(browser.eval("document.images.length").await, 0);
    assert_eq!(browser.eval("frames[0].document.title").await, "Webhooks");
    // Whoever reloads sees the same.
    browser.go(&url).await;
    browser
        .wait_for("document.querySelectorAll('.call').length === 2")
        .await;
    assert_eq!(browser.eval("document.images.length").await, 0);
    browser.assert_no_complaints().await;
}

#[tokio::test]
async fn no_script_runs_but_the_page_s_own() {
    let Some((_playground, _, browser)) = open().await else {
        return;
    };
    browser.assert_policy_holds().await;
}

#[tokio::test]
async fn nobody_else_gets_at_it() {
    let (_playground, url) = start().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    // By a name of another site's that leads here.
    let renamed = client.get(&url).header(HOST, "another.example.com");
    assert_eq!(within(renamed.send()).await.unwrap().status(), 421);
    let port = url.rsplit(':').next().unwrap();
    let local = client.get(&url).header(HOST, format!("localhost:{port}"));
    assert_eq!(within(local.send()).await.unwrap().status(), 200);
    // In another site's frame.
    for (path, ancestors) in [("/", "'none'"), ("/console/", "'self'")] {
        let answer = within(client.get(format!("{url}{path}")).send())
            .await
            .unwrap();
        let policy = answer.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(
            policy.contains(&format!("frame-ancestors {ancestors}")),
            "{policy}"
        );
        assert!(policy.contains("default-src 'none'"), "{policy}");
    }
    // Another site can tell the receiver nothing, and a call goes to no other port of this machine.
    let form = client.post(format!("{url}/receivers"));
    let told = form
        .header("content-type", "text/plain")
        .body(r#"{"does":"take"}"#);
    assert_eq!(within(told.send()).await.unwrap().status(), 415);
    let call = client.post(format!("{url}/run?webhookEndpoint=http://127.0.0.1:1/"));
    assert_eq!(within(call.send()).await.unwrap().status(), 400);
}

#[tokio::test]
async fn the_page_is_made_of_nothing_that_parses_text() {
    let (_playground, url) = start().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let page = within(client.get(url).send()).await.unwrap();
    let page = within(page.text()).await.unwrap();
    for never in [
        "{{",
        "innerHTML",
        "outerHTML",
        "insertAdjacent",
        "document.write",
        "eval(",
        "style=\"",
        "onclick=",
        "<base",
        "@import",
        "url(",
        "http",
    ] {
        assert!(!page.contains(never), "{never}");
    }
}
