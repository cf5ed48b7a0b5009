//! `/metrics`, and what is made of it: a dashboard and alerts.

use std::{collections::BTreeSet, fs, net::SocketAddr, path::Path};

use http::StatusCode;
use reqwest::Method;
use serde_json::Value;

use crate::{
    BINARY,
    process::{Process, within},
    promtool::promtool,
    raw::echo,
    scene::Folder,
    sqlite::outbox,
    world::World,
};

const PRIVATE: &str = "--insecure-private-endpoints";

async fn page(world: &World, admin: SocketAddr) -> String {
    let asked = world.plain(Method::GET, admin, "/metrics").send().await;
    let answer = asked.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(
        answer.headers()["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    answer.text().await.unwrap()
}

/// Once there are these lines: what happens is recorded beside what caller and receiver see.
async fn page_with(world: &World, admin: SocketAddr, lines: &[&str]) -> String {
    within(async {
        loop {
            let page = page(world, admin).await;
            let has = |line: &&str| page.lines().any(|found| found == *line);
            if lines.iter().all(has) {
                return page;
            }
        }
    })
    .await
}

#[tokio::test]
async fn prometheus_can_read_what_happens_and_no_name_of_a_caller() {
    let folder = Folder::new();
    let outbox = outbox(&folder);
    let args = [PRIVATE, "--admin", "127.0.0.1:0", "--outbox", &outbox];
    let mut world = World::of(echo(), &args).await;
    let admin = world.admin.unwrap();
    let first = page(&world, admin).await;
    assert!(first.contains("\nwebhook_accepted_total 0\n"), "{first}");

    let call = world.call(Method::POST, "/evil-path?evil-query=1");
    let call = call.header("x-request-id", "evil-id").body("evil-body");
    assert_eq!(call.send().await.unwrap().status(), StatusCode::OK);
    world.webhook().await;
    // These have hosts of the caller's choice, of which one is not accepted.
    for (endpoint, status) in [
        ("http://evil-host.invalid/evil", StatusCode::OK),
        ("ftp://evil-host.invalid/evil", StatusCode::BAD_REQUEST),
    ] {
        let call = world.plain(Method::POST, world.address, "/run");
        let call = call.query(&[("webhookEndpoint", endpoint)]);
        assert_eq!(call.send().await.unwrap().status(), status);
    }
    let page = page_with(
        &world,
        admin,
        &[
            "webhook_accepted_total 2",
            "webhook_refused_total{reason=\"bad-request\"} 1",
            "webhook_attempt_duration_seconds_bucket{outcome=\"204\",le=\"+Inf\"} 1",
            "webhook_delivery_duration_seconds_count{outcome=\"delivered\"} 1",
            "webhook_delivery_duration_seconds_bucket{outcome=\"delivered\",le=\"259200\"} 1",
            "webhook_outbox_duration_seconds_count{operation=\"insert\",outcome=\"ok\"} 2",
        ],
    )
    .await;
    for word in ["evil", "127.0.0.1", "http:", &world.endpoint] {
        assert!(!page.contains(word), "{word}: {page}");
    }
    promtool(&["check", "metrics"], Path::new("."), &page);
    in_step_with(&page);
}

#[tokio::test]
async fn metrics_are_behind_the_same_gate_as_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, "a-token-of-some-length\n").unwrap();
    let file = file.to_str().unwrap();
    let args = [PRIVATE, "--admin", "127.0.0.1:0"];
    let open = World::of(echo(), &args).await;
    let closed = World::of(echo(), &[&args[..], &["--admin-token-file", file]].concat()).await;
    let asking = |world: &World, method| world.plain(method, world.admin.unwrap(), "/metrics");
    let bearer = "a-token-of-some-length";
    for (request, status) in [
        (asking(&open, Method::GET), StatusCode::OK),
        (asking(&open, Method::HEAD), StatusCode::OK),
        (asking(&open, Method::POST), StatusCode::METHOD_NOT_ALLOWED),
        (
            asking(&open, Method::GET).header("host", "evil.example"),
            StatusCode::MISDIRECTED_REQUEST,
        ),
        (asking(&closed, Method::GET), StatusCode::UNAUTHORIZED),
        (
            asking(&closed, Method::GET).bearer_auth("another-token-there"),
            StatusCode::UNAUTHORIZED,
        ),
        (
            asking(&closed, Method::GET).bearer_auth(bearer),
            StatusCode::OK,
        ),
        (
            asking(&closed, Method::GET).basic_auth("prometheus", Some(bearer)),
            StatusCode::OK,
        ),
    ] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status);
        let is_page = answer.text().await.unwrap().contains("webhook_");
        assert!(!is_page || status == StatusCode::OK);
    }
    // On the address of callers it is the service's.
    let calls = open
        .plain(Method::POST, open.address, "/metrics")
        .body("the service's")
        .send();
    assert_eq!(calls.await.unwrap().text().await.unwrap(), "the service's");
}

#[tokio::test]
async fn a_worker_has_them_too() {
    let folder = Folder::new();
    let outbox = outbox(&folder);
    let args = ["worker", "--outbox", &outbox, "--admin", "127.0.0.1:0"];
    let mut worker = Process::start(BINARY, &args, &[]);
    let line = worker.stdout.line_with("admin on http://").await;
    let admin = line.rsplit('/').next().unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let page = async || {
        let asked = client.get(format!("http://{admin}/metrics")).send().await;
        asked.unwrap().text().await.unwrap()
    };
    let fetched = "webhook_outbox_duration_seconds_count{operation=\"fetch\",outcome=\"ok\"}";
    within(async { while !page().await.contains(fetched) {} }).await;
    let page = page().await;
    for line in ["webhook_accepted_total 0", "webhook_oldest_age_seconds 0"] {
        assert!(page.lines().any(|found| found == line), "{line}: {page}");
    }
    worker.signal("TERM");
    assert!(worker.exit().await.success());
}

/// Those that a text names.
fn names_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("webhook_")).collect()
}

/// What dashboard and alerts ask for is on the page.
fn in_step_with(page: &str) {
    let exposed = names_in(page);
    assert_eq!(page.matches("# TYPE ").count(), 14, "{page}");
    for text in [DASHBOARD, ALERTS] {
        let asked = names_in(text);
        let missing: Vec<_> = asked.difference(&exposed).collect();
        assert!(missing.is_empty(), "{missing:?}");
        assert!(asked.len() >= 4, "{asked:?}");
    }
}

const DASHBOARD: &str = include_str!("../../monitoring/dashboard.json");
const ALERTS: &str = include_str!("../../monitoring/alerts.yml");

#[test]
fn the_alerts_come_and_go_as_they_should() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("monitoring");
    promtool(&["check", "rules", "alerts.yml"], &folder, "");
    promtool(&["test", "rules", "alerts_test.yml"], &folder, "");
}

/// As rules that record, so that Prometheus's own parser reads them.
#[test]
fn the_dashboard_asks_in_promql() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    assert!(dashboard["schemaVersion"].as_u64() >= Some(39));
    let panels = dashboard["panels"].as_array().unwrap();
    let mut rules = String::from("groups:\n  - name: dashboard\n    rules:\n");
    let mut places = BTreeSet::new();
    for panel in panels {
        assert!(places.insert(panel["gridPos"].to_string()), "{panel}");
        for target in panel["targets"].as_array().unwrap() {
            let asked = target["expr"].as_str().unwrap();
            let asked = asked.replace("$__rate_interval", "1m");
            let asked = Value::from(asked.replace("$job", ".*"));
            rules += &format!(
                "      - record: panel:{}\n        expr: {asked}\n",
                panel["id"]
            );
            rules += &format!("        labels: {{target: {}}}\n", target["refId"]);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("rules.yml"), rules).unwrap();
    promtool(&["check", "rules", "rules.yml"], folder.path(), "");
}
