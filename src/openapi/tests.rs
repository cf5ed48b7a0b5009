//! What no setting of the layer turns on yet.

use serde_json::{Value, json};

use self::validator::assert_valid;
use super::*;
use crate::Dispatcher;

#[path = "../../tests/openapi/validator.rs"]
mod validator;

fn described(change: impl FnOnce(&mut Wire), responses: &Value) -> Value {
    let sink = tower::service_fn(|_| async { Ok::<_, crate::BoxError>(()) });
    let dispatcher = Dispatcher::builder_with_sink(sink).build();
    let mut description = WebhookLayer::for_dispatcher(dispatcher).openapi();
    change(&mut description.wire);
    let mut document = json!({
        "openapi": "3.1.0",
        "info": { "title": "Renderer", "version": "1.0.0" },
        "paths": { "/run": { "post": { "responses": responses } } },
    });
    description.patch(&mut document).unwrap();
    assert_valid(&document);
    let once = document.clone();
    description.patch(&mut document).unwrap();
    assert_eq!(document, once, "a second time changes nothing");
    document
}

#[test]
fn asynchronous_requests_are_described_where_they_are_on() {
    let own =
        json!({ "description": "Later", "content": { "application/json": { "schema": true } } });
    let document = described(
        |wire| wire.is_asynchronous = true,
        &json!({ "202": own, "404": own }),
    );
    let run = &document["paths"]["/run"]["post"];
    for (name, place) in [("WebhookAsync", "async"), ("WebhookPrefer", "Prefer")] {
        let reference = json!({ "$ref": format!("#/components/parameters/{name}") });
        assert!(run["parameters"].as_array().unwrap().contains(&reference));
        assert_eq!(document["components"]["parameters"][name]["name"], place);
    }
    let accepted = &run["responses"]["202"];
    let schema = &accepted["content"]["application/json"]["schema"];
    let run_schema = json!({ "$ref": "#/components/schemas/WebhookRun" });
    assert_eq!(*schema, json!({ "anyOf": [true, run_schema] }));
    assert!(accepted["headers"]["Preference-Applied"].is_object());

    let document = described(|_| {}, &json!({ "202": own }));
    let run = &document["paths"]["/run"]["post"];
    assert_eq!(run["responses"]["202"], own);
    assert!(!document.to_string().contains("respond-async"));
}

#[test]
fn failure_notices_are_described_where_they_are_on() {
    let gone = json!({ "204": { "description": "Gone" } });
    let document = described(|wire| wire.has_failure_notices = false, &gone);
    assert!(!document.to_string().contains("WebhookFailure"));
    let run = &document["paths"]["/run"]["post"];
    let delivery = &run["callbacks"]["webhook"]["{$request.query.webhookEndpoint}"]["post"];
    assert!(delivery["requestBody"].is_null(), "there is never a body");
    let status = delivery["parameters"].as_array().unwrap().last().unwrap();
    assert_eq!(status["name"], "X-Webhook-Response-Status");
    assert_eq!(status["required"], true);

    let document = described(|wire| wire.has_failure_notices = true, &gone);
    assert!(document["components"]["schemas"]["WebhookFailure"].is_object());
}
