//! The event stream: who has one, and what becomes of one that breaks.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    body::Body,
    extract::Request,
    middleware::{Next, from_fn},
    response::IntoResponse as _,
};
use http::StatusCode;
use http_body_util::BodyExt as _;
use tokio::time::{sleep, timeout};

use crate::{
    browser::Browser,
    rows, serve_app,
    support::{GOOD, Scene},
};

const PACE: &str = "document.querySelector('#pace').textContent";

/// A browser opens six connections to a host over HTTP/1.1, for all of its tabs.
#[tokio::test]
async fn a_page_that_nobody_sees_has_no_stream_and_looks_at_once_when_it_is_seen() {
    let Some(browser) = Browser::open().await else {
        return;
    };
    let scene = Scene::in_memory();
    scene.deliver(GOOD, "done").await;
    // Cloned into each stream that is open.
    let streams = Arc::new(());
    let (counted, before) = (Arc::downgrade(&streams), Arc::clone(&streams));
    let before = from_fn(move |request: Request, next: Next| {
        let is_stream = request.uri().path().ends_with("api/events");
        let open = is_stream.then(|| Arc::clone(&before));
        async move {
            next.run(request).await.map(|body| {
                Body::new(body.map_frame(move |frame| {
                    let _ = &open;
                    frame
                }))
            })
        }
    });
    let page = serve_app(scene.app.clone().layer(before)).await;
    let see = async |is_hidden: bool| {
        let script = format!(
            "Object.defineProperty(document, 'hidden', {{ value: {is_hidden}, configurable: true }});
            document.dispatchEvent(new Event('visibilitychange'))"
        );
        browser.run(&script).await;
    };
    browser.go(&page).await;
    browser.wait_for(&format!("{PACE} === 'Live'")).await;
    let without = counted.strong_count() - 1;
    see(true).await;
    let closed = async {
        while counted.strong_count() > without {
            sleep(Duration::from_millis(10)).await;
        }
    };
    // Long before it would end by itself.
    let in_time = timeout(Duration::from_secs(20), closed).await;
    in_time.expect("the stream is closed");
    scene.deliver(GOOD, "done").await;
    assert_eq!(browser.eval(&rows(1)).await, true);
    see(false).await;
    browser.wait_for(&rows(2)).await;
    browser.wait_for(&format!("{PACE} === 'Live'")).await;
    browser.assert_no_complaints().await;
}

/// What stands before it says so while it starts anew.
#[tokio::test]
async fn a_stream_that_was_refused_is_asked_for_again() {
    let Some(browser) = Browser::open().await else {
        return;
    };
    let scene = Scene::in_memory();
    scene.deliver(GOOD, "done").await;
    let is_away = Arc::new(AtomicBool::new(true));
    let away = Arc::clone(&is_away);
    let before = from_fn(move |request: Request, next: Next| {
        let is_away = away.load(Ordering::SeqCst);
        async move {
            match is_away && request.uri().path().ends_with("api/events") {
                true => StatusCode::BAD_GATEWAY.into_response(),
                false => next.run(request).await,
            }
        }
    });
    let page = serve_app(scene.app.clone().layer(before)).await;
    browser.go(&page).await;
    browser.wait_for(&rows(1)).await;
    browser
        .wait_for(&format!("{PACE} === 'Every 5 seconds'"))
        .await;
    // It is followed all the same.
    scene.deliver(GOOD, "done").await;
    browser.wait_for(&rows(2)).await;
    is_away.store(false, Ordering::SeqCst);
    browser.wait_for(&format!("{PACE} === 'Live'")).await;
}
