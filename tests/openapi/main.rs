//! The layer in an OpenAPI document.

mod document;
mod existing;
mod operation;
#[cfg(unix)]
mod programs;
mod settings;
mod validator;
mod wire;

#[cfg(unix)]
#[path = "../support/process.rs"]
mod process;

use serde_json::{Value, json};
use tower_webhook::WebhookLayer;

use self::validator::{assert_valid, resolved};

const TO_QUERY: &str = "{$request.query.webhookEndpoint}";

/// A document with these paths.
fn api(paths: Value) -> Value {
    let info = json!({ "title": "Renderer", "version": "1.0.0" });
    let mut document = json!({ "openapi": "3.1.0", "info": info });
    document["paths"] = paths;
    document
}

/// One with this POST to `/run`.
fn api_with(operation: Value) -> Value {
    let mut paths = json!({ "/run": {} });
    paths["/run"]["post"] = operation;
    api(paths)
}

fn json_response(description: &str, schema: &Value) -> Value {
    json!({
        "description": description,
        "content": { "application/json": { "schema": schema } },
    })
}

/// A valid document, patched, and valid still.
#[track_caller]
fn patched_by(layer: &WebhookLayer, document: &Value) -> Value {
    assert_valid(document);
    let mut patched = document.clone();
    layer.openapi().patch(&mut patched).unwrap();
    assert_valid(&patched);
    let mut again = patched.clone();
    layer.openapi().patch(&mut again).unwrap();
    assert_eq!(again, patched, "a second time changes nothing");
    patched
}

#[track_caller]
fn patched(document: &Value) -> Value {
    patched_by(&WebhookLayer::new(), document)
}

fn run(document: &Value) -> &Value {
    &document["paths"]["/run"]["post"]
}

/// The POST to the endpoint, of an operation.
#[track_caller]
fn delivery(operation: &Value) -> &Value {
    let delivery = &operation["callbacks"]["webhook"][TO_QUERY]["post"];
    assert!(delivery.is_object(), "{operation:#}");
    delivery
}

/// The parameters of an operation: `query webhookEndpoint`.
fn parameters(document: &Value, operation: &Value) -> Vec<String> {
    let list = operation["parameters"].as_array();
    let list = list.map(Vec::as_slice).unwrap_or_default();
    let parameters = list.iter().map(|parameter| resolved(document, parameter));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    parameters
        .map(|parameter| format!("{} {}", text(&parameter["in"]), text(&parameter["name"])))
        .collect()
}

fn parameter<'a>(document: &'a Value, operation: &'a Value, name: &str) -> &'a Value {
    let list = operation["parameters"].as_array().unwrap();
    let mut parameters = list.iter().map(|parameter| resolved(document, parameter));
    parameters
        .find(|parameter| parameter["name"] == name)
        .unwrap_or_else(|| panic!("no {name} in {operation:#}"))
}

fn keys(value: &Value) -> Vec<&str> {
    let members = value.as_object().unwrap();
    let mut keys: Vec<_> = members.keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}
