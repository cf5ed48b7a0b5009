//! The documents of the examples.

use serde_json::Value;

use crate::{
    assert_valid, delivery,
    process::{Process, within},
    run,
};

#[tokio::test]
async fn what_utoipa_has_made_is_described() {
    check("openapi_utoipa").await;
}

#[tokio::test]
async fn what_aide_has_made_is_described() {
    check("openapi_aide").await;
}

async fn check(name: &str) {
    let mut example = Process::example(name, &[]);
    let line = example.stderr.line_with("http://").await;
    let url = line
        .split(' ')
        .find(|part| part.starts_with("http://"))
        .unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let response = within(client.get(url).send()).await.unwrap();
    let served: Value = serde_json::from_slice(&within(response.bytes()).await.unwrap()).unwrap();
    // Shells make processes that run in the background ignore INT, and not TERM.
    example.signal("TERM");
    example.exit().await;
    let printed: Value = serde_json::from_str(&example.stdout.rest().await).unwrap();
    assert_eq!(printed, served);
    assert_valid(&served);
    let content = &delivery(run(&served))["requestBody"]["content"];
    let picture = &content["application/json"]["schema"]["$ref"];
    assert_eq!(picture, "#/components/schemas/Picture");
}
