//! Redeliver and cancel: what they meet, and who may not ask for them.

mod support;

use http::StatusCode;
use support::{BAD, GOOD, LATER, Scene, call, with_each_outbox};
use tower_webhook::outbox::DeliveryState;
use tower_webhook_console::{Access, console};

const SAME: (&str, &str) = ("sec-fetch-site", "same-origin");

async fn act(scene: &Scene, path: &str) -> u64 {
    let token = scene.token().await;
    let answer = scene.post(path, &[SAME, ("x-console-token", &token)]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer.json()["number"].as_u64().unwrap()
}

#[tokio::test]
async fn one_and_some_are_redelivered_by_their_ids() {
    with_each_outbox(async |scene| {
        let dead = scene.deliver(BAD, "done").await;
        let delivered = scene.deliver(GOOD, "done").await;
        let waits = scene.deliver(LATER, "done").await;
        let other = scene.deliver(BAD, "done").await;
        assert_eq!(
            act(
                &scene,
                &format!("api/redeliver?ids={dead},{delivered},{waits}")
            )
            .await,
            2
        );
        scene.wait_for(dead, DeliveryState::Dead, 2).await;
        scene.wait_for(delivered, DeliveryState::Delivered, 2).await;
        scene.wait_for(other, DeliveryState::Dead, 1).await;
        scene.wait_for(waits, DeliveryState::Waiting, 1).await;
    })
    .await;
}

#[tokio::test]
async fn all_that_match_are_counted_first_and_later_ones_are_not_met() {
    with_each_outbox(async |scene| {
        for _ in 0..3 {
            scene.deliver(BAD, "done").await;
        }
        let count = scene
            .get(&format!("api/count?action=redeliver&host={BAD}"))
            .await
            .json();
        assert_eq!(
            [&count["number"], &count["is_more"]],
            [&serde_json::json!(3), &serde_json::json!(false)]
        );
        assert_eq!(count["state"], "dead");
        let to = count["to"].as_u64().unwrap();
        // The next one is accepted in a later millisecond.
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
        let later = scene.deliver(BAD, "done").await;
        let path = format!("api/redeliver?all=1&host={BAD}&state=dead&to={to}");
        assert_eq!(act(&scene, &path).await, 3);
        scene.wait_for(later, DeliveryState::Dead, 1).await;
    })
    .await;
}

/// More than are counted at once, and one among the first of them cannot be read.
#[tokio::test]
async fn all_are_counted_beside_what_cannot_be_read() {
    let scene = Scene::in_sqlite();
    scene.deliver(BAD, "done").await;
    scene.sql(
        "INSERT INTO delivery (id, request_id, state, host, status, envelope, key, payload_len, accepted_at, due_at)
         WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n LIMIT 1200)
         SELECT printf('01a22b5c-76eb-74a2-9389-%012x', value), 'b', 'dead', host, 200, envelope, key,
             payload_len, accepted_at, due_at
         FROM delivery, n;
         UPDATE delivery SET request_id = '?' WHERE id LIKE '%000000000400'",
    );
    let count = scene.get("api/count?action=redeliver").await.json();
    assert_eq!(count["number"], 1_200);
    let summary = scene.get("api/summary").await.json();
    let dead = &summary["states"].as_array().unwrap()[2];
    assert_eq!(
        (&dead["number"], &dead["is_more"]),
        (&1_000.into(), &true.into())
    );
}

#[tokio::test]
async fn what_waits_is_cancelled() {
    with_each_outbox(async |scene| {
        scene.deliver(LATER, "done").await;
        let dead = scene.deliver(BAD, "done").await;
        assert_eq!(act(&scene, &format!("api/cancel?ids={dead}")).await, 0);
        assert_eq!(act(&scene, "api/cancel?all=1").await, 1);
        assert!(scene.ids("state=waiting").await.is_empty());
        assert_eq!(scene.ids("state=dead").await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn other_sites_cannot_act_even_with_the_token_and_the_page_cannot_without() {
    let scene = Scene::in_memory();
    let dead = scene.deliver(BAD, "done").await;
    let path = format!("api/redeliver?ids={dead}");
    let token = scene.token().await;
    let with_token = ("x-console-token", &*token);
    let wrong = ("x-console-token", "0");
    for headers in [
        &[][..],
        &[SAME],
        &[SAME, wrong],
        &[with_token],
        &[with_token, ("sec-fetch-site", "cross-site")],
        &[with_token, ("sec-fetch-site", "same-site")],
        &[with_token, ("sec-fetch-site", "none")],
        &[
            with_token,
            ("host", "a.example"),
            ("origin", "https://b.example"),
        ],
        &[with_token, ("host", "a.example"), ("origin", "null")],
    ] {
        let answer = scene.post(&path, headers).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{headers:?}");
    }
    scene.wait_for(dead, DeliveryState::Dead, 1).await;
    let by_origin = [
        with_token,
        ("host", "a.example"),
        ("origin", "https://a.example"),
    ];
    assert_eq!(scene.post(&path, &by_origin).await.status, StatusCode::OK);
    scene.wait_for(dead, DeliveryState::Dead, 2).await;
}

#[tokio::test]
async fn nothing_is_met_where_nothing_is_named() {
    let scene = Scene::in_memory();
    let token = scene.token().await;
    for path in [
        "api/redeliver",
        "api/cancel?state=waiting",
        "api/redeliver?ids=x",
        "api/cancel?all=1&state=dead",
    ] {
        let answer = scene.post(path, &[SAME, ("x-console-token", &token)]).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
    }
}

#[tokio::test]
async fn a_console_only_shows_unless_told_otherwise() {
    let scene = Scene::in_memory();
    let only_shows = console(&scene.dispatcher, Access::left_to_others());
    let app = axum::Router::new().nest_service("/c", only_shows);
    let page = call(&app, http::Method::GET, "/c", &[]).await;
    assert!(page.text.contains("name=\"console-token\" content=\"\""));
    for token in ["", &scene.token().await] {
        let headers = [SAME, ("x-console-token", token)];
        let answer = call(&app, http::Method::POST, "/c/api/redeliver?all=1", &headers).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
    }
}
