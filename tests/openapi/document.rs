//! Which documents are read, and what references in them are.

use serde_json::{Value, json};
use tower_webhook::{
    WebhookLayer,
    openapi::{OpenApiError, OpenApiErrorKind},
};

use crate::{TO_QUERY, api, api_with, delivery, json_response, keys, patched, run};

fn refused(document: &Value) -> OpenApiError {
    let mut patched = document.clone();
    let error = WebhookLayer::new().openapi().patch(&mut patched);
    assert_eq!(patched, *document, "it stays as it was");
    error.unwrap_err()
}

#[test]
fn another_version_is_refused_by_name() {
    for (document, version) in [
        (json!({ "openapi": "3.0.3" }), "3.0.3"),
        (json!({ "openapi": "3.2.0" }), "3.2.0"),
        (json!({ "openapi": "3.1" }), "3.1"),
        (json!({ "swagger": "2.0" }), "2.0"),
    ] {
        let error = refused(&document);
        assert_eq!(error.kind(), OpenApiErrorKind::UnsupportedVersion);
        let expected = format!("the document is OpenAPI {version}, and 3.1 is needed");
        assert_eq!(error.to_string(), expected);
    }
    for version in ["3.1.0", "3.1.1", "3.1.2"] {
        let mut document = api_with(json!({}));
        document["openapi"] = json!(version);
        patched(&document);
    }
}

#[test]
fn what_is_no_document_is_refused() {
    for document in [
        json!(null),
        json!([]),
        json!("3.1.0"),
        json!({}),
        json!({ "openapi": 3.1 }),
        json!({ "asyncapi": "3.0.0" }),
    ] {
        let kind = refused(&document).kind();
        assert_eq!(kind, OpenApiErrorKind::NotOpenApi, "{document}");
    }
}

#[test]
fn a_part_of_another_type_is_named() {
    let operation = |operation: Value| api_with(operation);
    let with_components = |components: Value| {
        let mut document = api_with(json!({}));
        document["components"] = components;
        document
    };
    for (document, place) in [
        (api(json!([])), "/paths is not an object"),
        (
            api(json!({ "/run/{id}": 1 })),
            "/paths/~1run~1{id} is not an object",
        ),
        (operation(json!("x")), "/paths/~1run/post is not an object"),
        (
            operation(json!({ "parameters": {} })),
            "/paths/~1run/post/parameters is not a list",
        ),
        (
            operation(json!({ "parameters": [1] })),
            "a parameter of /paths/~1run/post",
        ),
        (
            operation(json!({ "responses": [] })),
            "/paths/~1run/post/responses is not an object",
        ),
        (
            operation(json!({ "responses": { "200": 1 } })),
            "/paths/~1run/post/responses/200",
        ),
        (
            operation(json!({ "responses": { "200": { "content": [] } } })),
            "/paths/~1run/post/responses/200/content",
        ),
        (
            operation(json!({ "callbacks": [] })),
            "/paths/~1run/post/callbacks is not an object",
        ),
        (with_components(json!([])), "/components is not an object"),
        (
            with_components(json!({ "schemas": 1 })),
            "/components/schemas is not an object",
        ),
    ] {
        let error = refused(&document);
        assert_eq!(error.kind(), OpenApiErrorKind::Malformed, "{document}");
        assert!(error.to_string().contains(place), "{error}");
    }
}

#[test]
fn a_reference_that_leads_nowhere_is_named() {
    let to = |target: &str| json!({ "$ref": target });
    for (document, target) in [
        (
            api(json!({ "/run": to("#/components/pathItems/Run") })),
            "#/components/pathItems/Run",
        ),
        (
            api_with(json!({ "parameters": [to("#/parameters/A")] })),
            "#/parameters/A",
        ),
        (
            api_with(json!({ "responses": { "200": to("#/responses/A") } })),
            "#/responses/A",
        ),
        (
            api_with(json!({ "callbacks": { "a": to("#/callbacks/A") } })),
            "#/callbacks/A",
        ),
        (
            api(json!({ "/a": to("#/paths/~1b"), "/b": to("#/paths/~1a") })),
            "#/paths/~1",
        ),
    ] {
        let error = refused(&document);
        assert_eq!(
            error.kind(),
            OpenApiErrorKind::BrokenReference,
            "{document}"
        );
        assert!(error.to_string().contains(target), "{error}");
    }
}

#[test]
fn a_response_that_is_a_reference_is_what_it_refers_to() {
    let picture = json!({ "$ref": "#/components/schemas/Picture" });
    let mut document = api_with(json!({ "responses": {
        "200": { "$ref": "#/components/responses/Rendered" },
        "400": { "$ref": "#/components/responses/Refused", "description": "Refused here" },
    } }));
    document["components"] = json!({
        "schemas": { "Picture": { "type": "object" } },
        "responses": {
            "Rendered": { "$ref": "#/components/responses/Picture" },
            "Picture": json_response("The picture", &picture),
            "Refused": { "description": "Refused", "content": { "text/plain": {} } },
        },
    });
    let patched = patched(&document);
    let content = &delivery(run(&patched))["requestBody"]["content"];
    assert_eq!(content["application/json"]["schema"], picture);
    assert!(content["text/plain"].is_object());
    let responses = &run(&patched)["responses"];
    assert_eq!(responses["200"], run(&document)["responses"]["200"]);
    assert_eq!(responses["400"]["description"], "Refused here");
    let types = ["application/problem+json", "text/plain"];
    assert_eq!(keys(&responses["400"]["content"]), types);
    let shared = "/components/responses/Refused";
    assert_eq!(
        patched.pointer(shared),
        document.pointer(shared),
        "others use it too"
    );
}

#[test]
fn a_path_item_that_is_a_reference_is_described_for_its_path() {
    let mut document = api(json!({
        "/run": { "$ref": "#/components/pathItems/Run", "summary": "Here" },
        "/other": { "$ref": "#/components/pathItems/Run" },
    }));
    document["components"] = json!({ "pathItems": { "Run": {
        "summary": "There",
        "parameters": [{ "name": "x-webhook-secret", "in": "header", "schema": true }],
        "post": { "responses": { "200": json_response("Fine", &json!(true)) } },
    } } });
    document["webhooks"] = json!({ "run": { "$ref": "#/components/pathItems/Run" } });
    let layer = WebhookLayer::new();
    let mut patched = document.clone();
    let description = layer.openapi().with_operations(|_, path| path == "/run");
    description.patch(&mut patched).unwrap();
    crate::assert_valid(&patched);
    let item = &patched["paths"]["/run"];
    assert_eq!(item["summary"], "Here");
    assert!(item["post"]["callbacks"]["webhook"][TO_QUERY].is_object());
    let read = ["query webhookEndpoint", "header X-Request-Id"];
    assert_eq!(crate::parameters(&patched, &item["post"]), read);
    for kept in ["/paths/~1other", "/components/pathItems", "/webhooks"] {
        assert_eq!(patched.pointer(kept), document.pointer(kept), "{kept}");
    }
}

#[test]
fn what_is_in_another_document_is_not_followed() {
    let outside = json!({ "$ref": "responses.json#/Rendered" });
    let document = api(json!({
        "/run": { "post": {
            "parameters": [{ "$ref": "parameters.json#/Page" }],
            "responses": { "200": outside, "400": outside, "5XX": outside },
        } },
        "/elsewhere": { "$ref": "paths.json#/Elsewhere" },
    }));
    let patched = patched(&document);
    assert_eq!(
        patched["paths"]["/elsewhere"],
        document["paths"]["/elsewhere"]
    );
    let responses = &run(&patched)["responses"];
    assert_eq!(responses["400"], outside);
    assert!(responses["503"]["$ref"].as_str().unwrap().starts_with('#'));
    let content = &delivery(run(&patched))["requestBody"]["content"];
    assert_eq!(keys(content), ["*/*", "application/problem+json"]);
}
