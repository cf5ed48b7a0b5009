//! Where it can be mounted, whom it answers, and with which headers.

mod support;

use axum::Router;
use http::{Method, StatusCode};
use support::{GOOD, Scene, call};
use tower_webhook_console::{Access, Console, ConsoleBody, ConsoleEvents, ConsoleFuture, console};

#[tokio::test]
async fn it_works_nested_at_any_depth_and_as_the_whole_service() {
    let scene = Scene::in_memory();
    scene.deliver(GOOD, "done").await;
    let plain = console(&scene.dispatcher, Access::left_to_others());
    let at_the_root = Router::new().fallback_service(plain.clone());
    let deeper = Router::new().nest("/a", Router::new().nest_service("/b/c", plain));
    for (app, page) in [
        (&scene.app, "/some/webhooks"),
        (&scene.app, "/some/webhooks/"),
        (&at_the_root, "/"),
        (&deeper, "/a/b/c"),
        (&deeper, "/a/b/c/"),
    ] {
        let answer = call(app, Method::GET, page, &[]).await;
        assert_eq!(answer.status, StatusCode::OK, "{page}");
        assert!(answer.text.starts_with("<!doctype html>"));
        // As the page makes it of its own address.
        let api = format!("{}/api/deliveries", page.trim_end_matches('/'));
        let list = call(app, Method::GET, &api, &[]).await.json();
        assert_eq!(list["deliveries"][0]["host"], GOOD, "{page}");
    }
}

#[tokio::test]
async fn every_page_has_a_policy_of_its_own() {
    let scene = Scene::in_memory();
    let mut policies = Vec::new();
    for _ in 0..2 {
        let page = scene.get("").await;
        assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
        assert_eq!(page.headers["cache-control"], "no-store");
        assert_eq!(page.headers["x-content-type-options"], "nosniff");
        assert_eq!(page.headers["cross-origin-resource-policy"], "same-origin");
        let policy = page.headers["content-security-policy"]
            .to_str()
            .unwrap()
            .to_owned();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'nonce-"),
            "{policy}"
        );
        for part in [
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "connect-src 'self'",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
        let (_, nonce) = policy.split_once("'nonce-").unwrap();
        let nonce = &nonce[..32];
        assert_eq!(page.text.matches(&format!("nonce=\"{nonce}\"")).count(), 2);
        policies.push(policy);
    }
    assert_ne!(policies[0], policies[1]);
}

#[tokio::test]
async fn who_fails_the_check_gets_nothing() {
    let scene = Scene::in_memory();
    let operators = Access::check(|request| request.headers.contains_key("x-operator"));
    let app =
        Router::new().nest_service("/c", console(&scene.dispatcher, operators).with_actions());
    for path in [
        "/c",
        "/c/api/deliveries",
        "/c/api/summary",
        "/c/api/payload?id=x",
        "/c/nothing",
    ] {
        let answer = call(&app, Method::GET, path, &[]).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
        assert_eq!(answer.text, "You may not open this console.\n");
    }
    let post = call(&app, Method::POST, "/c/api/cancel?all=1", &[]).await;
    assert_eq!(post.text, "You may not open this console.\n");
    let let_in = call(&app, Method::GET, "/c", &[("x-operator", "1")]).await;
    assert_eq!(let_in.status, StatusCode::OK);
}

#[tokio::test]
async fn methods_are_those_of_each_path() {
    let scene = Scene::in_memory();
    for (method, path, status, allow) in [
        (Method::POST, "", 405, Some("GET, HEAD")),
        (Method::DELETE, "api/deliveries", 405, Some("GET, HEAD")),
        (Method::GET, "api/redeliver?all=1", 405, Some("POST")),
        (Method::PUT, "api/cancel", 405, Some("POST")),
        (Method::GET, "api/nothing", 404, None),
        (Method::GET, "nothing", 404, None),
        (Method::GET, "api", 404, None),
    ] {
        let uri = format!("/some/webhooks/{path}");
        let answer = call(&scene.app, method.clone(), &uri, &[]).await;
        assert_eq!(answer.status, status, "{method} {path}");
        let allowed = answer
            .headers
            .get("allow")
            .map(|value| value.to_str().unwrap());
        assert_eq!(allowed, allow, "{method} {path}");
    }
    let head = call(
        &scene.app,
        Method::HEAD,
        "/some/webhooks/api/deliveries",
        &[],
    )
    .await;
    let get = scene.get("api/deliveries").await;
    assert_eq!(head.text, "");
    assert_eq!(
        head.headers["content-length"],
        get.text.len().to_string().as_str()
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_served_and_ends() {
    let scene = Scene::in_memory();
    let stream = tokio::spawn({
        let app = scene.app.clone();
        async move { call(&app, Method::GET, "/some/webhooks/api/events", &[]).await }
    });
    let stream = stream.await.unwrap();
    assert_eq!(stream.headers["content-type"], "text/event-stream");
    assert!(
        stream.text.starts_with("retry: 500\ndata: "),
        "{}",
        stream.text
    );
    let without =
        Router::new().fallback_service(console(&scene.dispatcher, Access::left_to_others()));
    let none = call(&without, Method::GET, "/api/events", &[]).await;
    assert_eq!(none.status, StatusCode::NOT_FOUND);
}

#[test]
fn everything_can_be_shared_and_sent() {
    fn is_shared<T: Clone + Send + Sync + 'static>() {}
    fn is_sent<T: Send + 'static>() {}
    is_shared::<Console>();
    is_shared::<Access>();
    is_shared::<ConsoleEvents>();
    is_sent::<ConsoleFuture>();
    is_sent::<ConsoleBody>();
}
