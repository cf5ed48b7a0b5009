//! What the page reads: the list, one delivery, its payload, the summary.

mod support;

use http::StatusCode;
use serde_json::{Value, json};
use support::{BAD, GOOD, LATER, Scene, ids, with_each_outbox};
use tower_webhook::{EndpointPolicy, Secret, delivery::DeliveryParts, outbox::DeliveryState};

#[tokio::test]
async fn the_list_is_newest_first_and_says_where_each_stands() {
    with_each_outbox(async |scene| {
        for host in [GOOD, BAD, LATER] {
            scene.deliver(host, "done").await;
        }
        let list = scene.get("api/deliveries").await.json();
        let lines: Vec<_> = list["deliveries"].as_array().unwrap().iter().collect();
        let told = |line: &Value| {
            json!([
                line["state"],
                line["host"],
                line["attempts"],
                line["last"]["status"]
            ])
        };
        assert_eq!(told(lines[0]), json!(["waiting", LATER, 1, 503]));
        assert_eq!(told(lines[1]), json!(["dead", BAD, 1, 410]));
        assert_eq!(told(lines[2]), json!(["delivered", GOOD, 1, 204]));
        assert_eq!(lines[2]["size"], 4);
        assert_eq!(lines[2]["request_id"], "call-to-goo");
        assert_eq!(list["next"], Value::Null);
    })
    .await;
}

#[tokio::test]
async fn filters_let_through_what_they_say() {
    with_each_outbox(async |scene| {
        let good = scene.deliver(GOOD, "done").await.to_string();
        let bad = scene.deliver(BAD, "done").await.to_string();
        for (query, expected) in [
            ("", vec![&bad, &good]),
            ("state=dead", vec![&bad]),
            ("state=waiting", vec![]),
            ("host=Good.Example.com.", vec![&good]),
            ("host=example.com", vec![]),
            (&format!("id={good}"), vec![&good]),
            ("id=call-to-bad", vec![&bad]),
            ("id=call-to-bad&state=delivered", vec![]),
            ("id=00000000-0000-7000-8000-000000000000", vec![]),
            ("last=1h", vec![&bad, &good]),
            ("from=99999999999999", vec![]),
            ("to=1000", vec![]),
            ("state=&host=&id=", vec![&bad, &good]),
        ] {
            assert_eq!(
                scene.ids(query).await,
                expected.iter().map(|id| (*id).clone()).collect::<Vec<_>>(),
                "{query}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn cursors_lead_through_all_of_the_list_once() {
    with_each_outbox(async |scene| {
        let mut expected = Vec::new();
        for _ in 0..7 {
            expected.insert(0, scene.deliver(BAD, "done").await.to_string());
        }
        let (mut found, mut before) = (Vec::new(), String::new());
        loop {
            let query = format!("api/deliveries?state=dead&limit=3&before={before}");
            let list = scene.get(&query).await.json();
            found.extend(ids(&list));
            match list["next"].as_str() {
                Some(next) => before = next.to_owned(),
                None => break,
            }
        }
        assert_eq!(found, expected);
    })
    .await;
}

/// Rows that somebody has edited are not listed, and end no list.
#[tokio::test]
async fn a_page_that_is_short_is_not_the_last_one() {
    let scene = Scene::in_sqlite();
    let mut sent = Vec::new();
    for _ in 0..7 {
        sent.insert(0, scene.deliver(BAD, "done").await.to_string());
    }
    for spoilt in [1, 3] {
        let id = sent.remove(spoilt);
        scene.sql(&format!(
            "UPDATE delivery SET request_id = '?' WHERE id = '{id}'"
        ));
    }
    let (mut found, mut before) = (Vec::new(), String::new());
    loop {
        let query = format!("api/deliveries?limit=2&before={before}");
        let list = scene.get(&query).await.json();
        found.extend(ids(&list));
        match list["next"].as_str() {
            Some(next) => before = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(found, sent);
}

#[tokio::test]
async fn a_delivery_has_its_time_line_and_no_signature() {
    with_each_outbox(async |scene| {
        let id = scene.deliver(LATER, "done").await;
        let told = scene.get(&format!("api/delivery?id={id}")).await.json();
        assert_eq!(told["timeline"][0]["attempt"], 1);
        assert_eq!(told["timeline"][0]["status"], 503);
        assert!(told["timeline"][0]["took"].as_f64().unwrap() >= 0.0);
        assert!(told["next_at"].as_u64() > told["accepted_at"].as_u64());
        let headers = told["headers"].as_array().unwrap();
        assert!(headers.contains(&json!(["webhook-id", id.to_string()])));
        assert!(headers.contains(&json!(["webhook-signature", "***"])));
        assert!(headers.contains(&json!(["content-language", "de"])));
        assert!(headers.contains(&json!(["x-webhook-response-status", "200"])));
        assert!(headers.is_sorted_by_key(|header| header[0].as_str()));
    })
    .await;
}

#[tokio::test]
async fn a_payload_is_data_whatever_is_in_it() {
    with_each_outbox(async |scene| {
        let hostile = "</script><script>alert(1)</script>";
        let id = scene.deliver(BAD, hostile).await;
        let answer = scene.get(&format!("api/payload?id={id}")).await;
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        assert_eq!(
            answer.headers["content-security-policy"],
            "default-src 'none'; frame-ancestors 'none'"
        );
        let payload = answer.json();
        assert_eq!(payload["text"], hostile);
        assert_eq!(payload["len"], hostile.len());
        let unknown = scene
            .get("api/payload?id=00000000-0000-7000-8000-000000000000")
            .await;
        assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    })
    .await;
}

#[tokio::test]
async fn a_secret_is_in_no_answer() {
    with_each_outbox(async |scene| {
        let secret = "a-secret-of-a-caller";
        let url = format!("https://{BAD}/a-path?a-query");
        let endpoint = EndpointPolicy::public().check(&url).unwrap();
        let mut parts = DeliveryParts::new(endpoint, "done".into());
        parts.secret = Some(Secret::new(secret));
        let id = scene.dispatcher.deliver(parts).await.unwrap();
        scene.wait_for(id, DeliveryState::Dead, 1).await;
        for path in [
            "",
            "api/deliveries",
            &format!("api/delivery?id={id}"),
            &format!("api/payload?id={id}"),
            "api/summary",
            "api/count?action=redeliver",
        ] {
            let text = scene.get(path).await.text;
            for never in [secret, "a-path", "a-query"] {
                assert!(!text.contains(never), "{path}: {never}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn the_summary_counts_by_state_and_has_the_last_hour() {
    with_each_outbox(async |scene| {
        for host in [GOOD, BAD, LATER, LATER] {
            scene.deliver(host, "done").await;
        }
        let summary = scene.get("api/summary").await.json();
        let states = summary["states"].as_array().unwrap();
        let number = |name: &str| {
            states.iter().find(|state| state["state"] == name).unwrap()["number"].clone()
        };
        assert_eq!(
            [
                number("waiting"),
                number("dead"),
                number("delivered"),
                number("running")
            ],
            [2, 1, 1, 0]
        );
        let minute = summary["hour"]["minutes"]
            .as_array()
            .unwrap()
            .last()
            .unwrap();
        assert_eq!([&minute["attempts"], &minute["failures"]], [4, 3]);
        assert!(summary["hour"]["p95"].as_f64().is_some());
        assert_eq!(summary["since_start"]["accepted"], 4);
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_with_a_query_is_said_and_not_repeated() {
    let scene = Scene::in_memory();
    for path in [
        "api/deliveries?state=<script>alert(1)</script>",
        "api/deliveries?before=%3Cscript%3E",
        "api/deliveries?id=%3Cscript%3E",
        "api/delivery?id=%3Cscript%3E",
        "api/count?action=%3Cscript%3E",
        "api/count?action=cancel&state=dead",
        "api/count?action=redeliver&state=running",
    ] {
        let path = path.replace('<', "%3C").replace('>', "%3E");
        let answer = scene.get(&path).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        assert!(!answer.text.contains("script"), "{}", answer.text);
        assert!(answer.json()["error"].is_string());
    }
}
