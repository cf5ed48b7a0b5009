//! What a document says already.

use serde_json::{Value, json};

use crate::{
    TO_QUERY, api, api_with, delivery, json_response, parameters, patched, run, validator::resolved,
};

fn fine() -> Value {
    json!({ "200": { "description": "Fine" } })
}

#[test]
fn a_parameter_of_the_same_name_is_left_alone() {
    let own = json!({ "name": "x-request-id", "in": "header", "schema": { "const": "mine" } });
    let mut document = api(json!({ "/run": {
        "parameters": [{ "$ref": "#/components/parameters/Endpoint" }],
        "post": { "parameters": [own], "responses": fine() },
    } }));
    document["components"] = json!({ "parameters": {
        "Endpoint": { "name": "webhookEndpoint", "in": "query", "schema": { "type": "string" } },
    } });
    let document = patched(&document);
    let expected = ["header x-request-id", "header X-Webhook-Secret"];
    assert_eq!(parameters(&document, run(&document)), expected);
    assert_eq!(run(&document)["parameters"][0], own);
}

#[test]
fn a_parameter_of_the_same_name_elsewhere_is_another() {
    let own = json!({ "name": "webhookEndpoint", "in": "header", "schema": { "type": "string" } });
    let other_case = json!({ "name": "WEBHOOKENDPOINT", "in": "query", "schema": true });
    let document = patched(&api_with(json!({ "parameters": [own, other_case] })));
    let parameters = parameters(&document, run(&document));
    assert!(parameters.contains(&"query webhookEndpoint".to_owned()));
}

#[test]
fn callbacks_of_the_operations_own_stay() {
    let own = json!({ "{$request.body#/url}": { "post": { "responses": fine() } } });
    let document = patched(&api_with(
        json!({ "callbacks": { "done": own, "webhook": own } }),
    ));
    let callbacks = &run(&document)["callbacks"];
    assert_eq!(callbacks["done"], own);
    assert_eq!(callbacks["webhook"], own);
    assert!(callbacks["webhook2"][TO_QUERY]["post"].is_object());
}

#[test]
fn a_callback_to_the_same_endpoint_is_the_description() {
    let own = json!({ TO_QUERY: { "post": { "responses": fine() } } });
    let mut document = api_with(json!({
        "callbacks": { "mine": { "$ref": "#/components/callbacks/Mine" } },
    }));
    document["components"] = json!({ "callbacks": { "Mine": own } });
    let patched = patched(&document);
    assert_eq!(run(&patched)["callbacks"], run(&document)["callbacks"]);
    assert!(run(&patched)["responses"]["400"].is_object());
}

#[test]
fn a_response_with_the_same_status_can_be_either() {
    let own = json!({ "type": "object", "required": ["code"] });
    let document = patched(&api_with(json!({ "responses": {
        "400": json_response("Your mistake", &own),
        "503": { "description": "Busy", "headers": { "retry-after": { "schema": { "const": "1" } } } },
        "508": { "description": "Loop", "content": { "application/problem+json": { "schema": own } } },
    } })));
    let responses = &run(&document)["responses"];
    let problem = json!({ "$ref": "#/components/schemas/WebhookProblem" });
    assert_eq!(responses["400"]["description"], "Your mistake");
    let content = &responses["400"]["content"];
    assert_eq!(content["application/json"]["schema"], own);
    assert_eq!(content["application/problem+json"]["schema"], problem);
    let headers = json!({ "retry-after": { "schema": { "const": "1" } } });
    assert_eq!(responses["503"]["headers"], headers);
    let content = &responses["508"]["content"];
    let either = json!({ "anyOf": [own, problem] });
    assert_eq!(content["application/problem+json"]["schema"], either);
    // What the layer answers itself is never delivered.
    let content = &delivery(run(&document))["requestBody"]["content"];
    assert!(!content.to_string().contains("WebhookProblem"));
}

#[test]
fn a_range_and_the_default_hold_for_the_layers_statuses_as_well() {
    let text = |schema: Value| json!({ "text/plain": { "schema": schema } });
    let document = patched(&api_with(json!({ "responses": {
        "4XX": { "description": "Your mistake", "content": text(json!({ "maxLength": 4 })) },
        "default": { "description": "Ours", "content": text(json!({ "maxLength": 5 })) },
    } })));
    let responses = &run(&document)["responses"];
    for (status, description, longest) in [("400", "Your mistake", 4), ("503", "Ours", 5)] {
        let response = &responses[status];
        assert_eq!(response["description"], description);
        let schema = &response["content"]["text/plain"]["schema"];
        assert_eq!(*schema, json!({ "maxLength": longest }));
        assert!(response["content"]["application/problem+json"].is_object());
    }
    let retry_after = &responses["503"]["headers"]["Retry-After"];
    assert_eq!(
        retry_after["required"], false,
        "the other answer need not have it"
    );
    assert_eq!(responses["4XX"]["content"], text(json!({ "maxLength": 4 })));
}

#[test]
fn a_component_of_another_meaning_keeps_its_name() {
    let mut document = api_with(json!({ "responses": fine() }));
    document["components"] = json!({
        "schemas": { "WebhookProblem": { "type": "string" } },
        "parameters": { "WebhookEndpoint": { "name": "a", "in": "query", "schema": true } },
    });
    let patched = patched(&document);
    for kept in [
        "/components/schemas/WebhookProblem",
        "/components/parameters/WebhookEndpoint",
    ] {
        assert_eq!(patched.pointer(kept), document.pointer(kept));
    }
    let refused = resolved(&patched, &run(&patched)["responses"]["400"]);
    let problem = &refused["content"]["application/problem+json"]["schema"];
    assert_eq!(problem["$ref"], "#/components/schemas/WebhookProblem2");
}

#[test]
fn everything_else_of_a_document_stays() {
    let mut document = api_with(json!({
        "x-mine": 1,
        "tags": ["runs"],
        "security": [{ "token": [] }],
        "requestBody": { "content": { "text/plain": {} } },
        "responses": { "200": { "description": "Fine", "x-mine": 2 } },
    }));
    document["x-mine"] = json!([3]);
    document["security"] = json!([{ "token": [] }]);
    document["components"] =
        json!({ "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } } });
    let patched = patched(&document);
    fn is_in(part: &Value, whole: &Value) -> bool {
        match (part, whole) {
            (Value::Object(part), Value::Object(whole)) => part
                .iter()
                .all(|(key, part)| whole.get(key).is_some_and(|whole| is_in(part, whole))),
            _ => part == whole,
        }
    }
    assert!(is_in(&document, &patched), "{patched:#}");
}
