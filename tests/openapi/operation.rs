//! What one operation gets.

use serde_json::{Value, json};

use crate::{
    api, api_with, delivery, json_response, keys, parameter, parameters, patched, run,
    validator::{errors_of, resolved},
};

fn picture() -> Value {
    json!({ "type": "object", "properties": { "url": { "type": "string" } } })
}

fn render() -> Value {
    api_with(json!({
        "operationId": "run",
        "responses": { "200": json_response("The picture", &picture()) },
    }))
}

#[test]
fn the_validator_finds_what_is_not_valid() {
    for (operation, part) in [
        (json!({ "responses": { "200": {} } }), "description"),
        (
            json!({ "parameters": [{ "name": "a", "in": "nowhere" }] }),
            "nowhere",
        ),
        (
            json!({ "parameters": [{ "name": "a", "in": "query", "schema": { "type": "text" } }] }),
            "text",
        ),
        (
            json!({ "parameters": [{ "$ref": "#/components/parameters/A" }] }),
            "leads nowhere",
        ),
        (
            json!({ "callbacks": { "a": { "{$url}": { "post": 1 } } } }),
            "object",
        ),
        (json!({ "unknown": 1 }), "unknown"),
    ] {
        let errors = errors_of(&api_with(operation)).join("\n");
        assert!(errors.contains(part), "{part}: {errors}");
    }
}

#[test]
fn it_says_what_the_layer_reads_of_a_call() {
    let document = patched(&render());
    let expected = [
        "query webhookEndpoint",
        "header X-Webhook-Secret",
        "header X-Request-Id",
    ];
    assert_eq!(parameters(&document, run(&document)), expected);
    let endpoint = parameter(&document, run(&document), "webhookEndpoint");
    assert_eq!(endpoint["schema"]["format"], "uri");
    assert_ne!(endpoint["required"], true, "a call need not name one");
}

#[test]
fn it_says_what_the_layer_answers_itself() {
    let document = patched(&render());
    let responses = &run(&document)["responses"];
    assert_eq!(keys(responses), ["200", "400", "503", "508"]);
    for status in ["400", "503", "508"] {
        let response = resolved(&document, &responses[status]);
        let problem = &response["content"]["application/problem+json"]["schema"];
        let problem = resolved(&document, problem);
        assert_eq!(
            keys(&problem["properties"]),
            ["detail", "status", "title", "type"]
        );
        let may_be_tried_again = response["headers"]["Retry-After"].is_object();
        assert_eq!(may_be_tried_again, status == "503");
    }
    assert_eq!(responses["200"], run(&render())["responses"]["200"]);
}

#[test]
fn it_says_what_the_endpoint_gets() {
    let document = patched(&render());
    let delivery = delivery(run(&document));
    let expected = [
        "header X-Request-Id",
        "header X-Cerebrium-Webhook-Timestamp",
        "header X-Cerebrium-Webhook-Signature",
        "header webhook-id",
        "header webhook-timestamp",
        "header webhook-signature",
        "header X-Webhook-Attempt",
        "header X-Webhook-Failure",
        "header traceparent",
        "header X-Webhook-Response-Status",
    ];
    assert_eq!(parameters(&document, delivery), expected);
    let content = &delivery["requestBody"]["content"];
    assert_eq!(content["application/json"]["schema"], picture());
    let failure = &content["application/problem+json"]["schema"];
    let reasons = &resolved(&document, failure)["properties"]["type"]["enum"];
    let timed_out = json!("urn:tower-webhook:failure:timed-out");
    assert!(reasons.as_array().unwrap().contains(&timed_out));
    assert_eq!(
        delivery["security"],
        json!([]),
        "no token of the API is sent"
    );
}

#[test]
fn the_endpoint_gets_every_content_type_of_every_status() {
    let problem = json!({ "type": "object", "properties": { "code": { "type": "integer" } } });
    let document = patched(&api_with(json!({ "responses": {
        "200": { "description": "The picture", "content": {
            "application/json": { "schema": picture() },
            "image/png": {},
            "text/csv; charset=utf-8": { "schema": { "type": "string" } },
        } },
        "202": json_response("Later", &picture()),
        "4XX": json_response("Your mistake", &problem),
        "default": { "description": "Ours", "content": {
            "text/plain": { "schema": { "type": "string" }, "example": "oh" },
        } },
    } })));
    let body = &delivery(run(&document))["requestBody"];
    let content = &body["content"];
    let types = [
        "application/json",
        "application/problem+json",
        "image/png",
        "text/csv; charset=utf-8",
        "text/plain",
    ];
    assert_eq!(keys(content), types);
    let either = json!({ "anyOf": [picture(), problem] });
    assert_eq!(content["application/json"]["schema"], either);
    assert_eq!(content["text/plain"]["example"], "oh");
    assert_eq!(body["required"], true);
    let status = parameter(
        &document,
        delivery(run(&document)),
        "X-Webhook-Response-Status",
    );
    let examples = json!({
        "200": { "summary": "The picture", "value": 200 },
        "202": { "summary": "Later", "value": 202 },
    });
    assert_eq!(status["examples"], examples);
}

#[test]
fn a_problem_of_the_operations_own_goes_to_the_endpoint_as_well() {
    let own = json!({ "type": "object", "required": ["code"] });
    let document = patched(&api_with(json!({ "responses": {
        "422": { "description": "No", "content": { "application/problem+json": { "schema": own } } },
    } })));
    let content = &delivery(run(&document))["requestBody"]["content"];
    let schema = &content["application/problem+json"]["schema"];
    let failure = json!({ "$ref": "#/components/schemas/WebhookFailure" });
    assert_eq!(*schema, json!({ "anyOf": [own, failure] }));
}

#[test]
fn a_response_without_a_body_leads_to_a_delivery_without_one() {
    let paths = json!({ "/run": {
        "head": { "responses": { "200": json_response("The picture", &picture()) } },
        "delete": { "responses": { "204": { "description": "Gone" } } },
        "put": { "responses": {
            "200": json_response("The picture", &picture()),
            "304": json_response("The same", &json!({ "type": "string" })),
        } },
        "get": {},
    } });
    let document = patched(&api(paths));
    for (method, types) in [
        ("head", &["application/problem+json"][..]),
        ("delete", &["application/problem+json"]),
        ("put", &["application/json", "application/problem+json"]),
        // Nothing is known of its responses.
        ("get", &["*/*", "application/problem+json"]),
    ] {
        let body = &delivery(&document["paths"]["/run"][method])["requestBody"];
        assert_eq!(keys(&body["content"]), types, "{method}");
        assert_eq!(body["required"], false, "{method}");
    }
    let put = &delivery(&document["paths"]["/run"]["put"])["requestBody"];
    assert_eq!(put["content"]["application/json"]["schema"], picture());
}

#[test]
fn what_never_leads_to_a_webhook_is_left_alone() {
    let responses = json!({ "200": { "description": "Fine" } });
    let document = json!({
        "openapi": "3.1.0",
        "info": { "title": "Renderer", "version": "1.0.0" },
        "paths": {
            "/run": { "options": { "responses": responses }, "summary": "The run" },
            "/socket": { "get": { "responses": { "101": { "description": "Switched" } } } },
            "/hints": { "get": { "responses": { "1XX": { "description": "Hints" } } } },
            "x-note": { "post": { "responses": responses } },
        },
        "webhooks": { "done": { "post": { "responses": responses } } },
    });
    assert_eq!(patched(&document), document);

    let both = json!({ "101": { "description": "Switched" }, "426": { "description": "Upgrade" } });
    let document = patched(&api_with(json!({ "responses": both })));
    let status = parameter(
        &document,
        delivery(run(&document)),
        "X-Webhook-Response-Status",
    );
    assert_eq!(keys(&status["examples"]), ["426"]);
}

#[test]
fn a_document_without_paths_stays_as_it_is() {
    let document = json!({
        "openapi": "3.1.0",
        "info": { "title": "Renderer", "version": "1.0.0" },
        "components": {},
    });
    assert_eq!(patched(&document), document);
}
