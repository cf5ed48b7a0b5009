//! A document says what the layer was told.

use std::{convert::Infallible, future::ready, time::Duration};

use http::{HeaderName, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};
use tower::service_fn;
use tower_webhook::{
    Dispatcher, RetryPolicy, WebhookLayer,
    delivery::{Brand, SigningKey},
    event::Outcome,
};

use crate::{
    api, api_with, assert_valid, delivery, json_response, keys, parameter, parameters, patched_by,
    run, validator::resolved,
};

fn plain() -> Value {
    api_with(json!({ "responses": { "200": json_response("Fine", &json!(true)) } }))
}

#[test]
fn names_are_those_of_the_layer() {
    let layer = WebhookLayer::new()
        .with_endpoint_parameter("callback url")
        .with_endpoint_header(HeaderName::from_static("x-acme-callback"))
        .with_secret_header(HeaderName::from_static("x-acme-key"));
    let document = patched_by(&layer, &plain());
    let expected = [
        "query callback url",
        "header X-Acme-Callback",
        "header X-Acme-Key",
        "header X-Request-Id",
    ];
    assert_eq!(parameters(&document, run(&document)), expected);
    let callback = &run(&document)["callbacks"]["webhook"];
    let expressions = [
        "{$request.header.x-acme-callback}",
        "{$request.query.callback url}",
    ];
    assert_eq!(keys(callback), expressions);
    assert_eq!(callback[expressions[0]], callback[expressions[1]]);
}

#[test]
fn headers_have_the_brand_of_the_dispatcher() {
    let dispatcher = Dispatcher::builder()
        .with_brand(Brand::new("acme").unwrap())
        .without_standard_headers()
        .build();
    let layer = WebhookLayer::new().with_dispatcher(dispatcher);
    let document = patched_by(&layer, &plain());
    let expected = [
        "header X-Request-Id",
        "header X-Acme-Webhook-Timestamp",
        "header X-Acme-Webhook-Signature",
        "header X-Webhook-Attempt",
        "header X-Webhook-Failure",
        "header traceparent",
        "header X-Webhook-Response-Status",
    ];
    assert_eq!(parameters(&document, delivery(run(&document))), expected);
}

#[test]
fn headers_of_the_operator_and_signatures_with_a_key_are_described() {
    let plan = HeaderName::from_static("x-acme-plan");
    let key = SigningKey::from_bytes([7; 32]);
    let dispatcher = Dispatcher::builder()
        .with_header(plan.clone(), HeaderValue::from_static("hush-1"))
        .and_then(|builder| builder.with_header(plan, HeaderValue::from_static("hush-2")))
        .unwrap()
        .without_standard_headers()
        .with_signing_key(key)
        .build();
    let layer = WebhookLayer::new().with_dispatcher(dispatcher);
    let document = patched_by(&layer, &plain());
    assert_valid(&document);
    let delivery = delivery(run(&document));
    let names = parameters(&document, delivery);
    let of_operator = names.iter().filter(|name| *name == "header X-Acme-Plan");
    assert_eq!(of_operator.count(), 1);
    assert!(!document.to_string().contains("hush"));
    // A key signs the standard form, whatever else does.
    let signature = parameter(&document, delivery, "webhook-signature");
    assert_eq!(signature["required"], true);
    assert!(
        signature["description"]
            .as_str()
            .unwrap()
            .contains("`v1a,`")
    );
}

#[test]
fn a_202_says_where_to_look_where_there_is_a_status() {
    let with = |dispatcher: Dispatcher| {
        let layer = WebhookLayer::new().with_dispatcher(dispatcher);
        layer.with_async_requests()
    };
    let layer = with(Dispatcher::new());
    let of_202 = |layer: &WebhookLayer| {
        let document = patched_by(layer, &plain());
        assert_valid(&document);
        let answer = resolved(&document, &run(&document)["responses"]["202"]).clone();
        let prefer = parameter(&document, run(&document), "Prefer")["description"].clone();
        (
            answer["headers"]["Location"].is_object(),
            prefer.to_string(),
            answer["description"].to_string(),
        )
    };
    let (has_location, prefer, description) = of_202(&layer);
    assert!(!has_location);
    assert!(prefer.contains("Beside an endpoint"), "{prefer}");
    assert!(!description.contains("looked up"), "{description}");

    let (has_location, prefer, description) = of_202(&layer.with_status_location("/webhooks"));
    assert!(has_location);
    assert!(prefer.contains("With or without an endpoint"), "{prefer}");
    assert!(description.contains("looked up"), "{description}");

    // What a sink takes cannot be looked up here: its operator answers for that path.
    let sink = Dispatcher::builder().with_sink(service_fn(|_| ready(Ok::<_, Infallible>(()))));
    let layer = with(sink.build()).with_status_location("/webhooks");
    let (has_location, prefer, description) = of_202(&layer);
    assert!(has_location);
    assert!(prefer.contains("Beside an endpoint"), "{prefer}");
    assert!(!description.contains("looked up"), "{description}");
}

#[test]
fn a_required_secret_makes_signatures_certain() {
    for (layer, is_required) in [
        (WebhookLayer::new(), false),
        (WebhookLayer::new().with_required_secret(), true),
    ] {
        let document = patched_by(&layer, &plain());
        let delivery = delivery(run(&document));
        for name in ["X-Cerebrium-Webhook-Signature", "webhook-signature"] {
            let signature = parameter(&document, delivery, name);
            assert_eq!(signature["required"], is_required, "{name}");
        }
        let secret = parameter(&document, run(&document), "X-Webhook-Secret");
        assert_ne!(
            secret["required"], true,
            "a call without a webhook needs none"
        );
    }
}

#[test]
fn statuses_that_are_not_forwarded_are_not_delivered() {
    let text = json!({ "description": "Oh", "content": { "text/plain": {} } });
    let document = api(json!({
        "/run": { "post": { "responses": {
            "200": json_response("Fine", &json!(true)),
            "404": text,
            "5XX": text,
        } } },
        "/fail": { "post": { "responses": { "404": text, "4XX": text } } },
    }));
    let layer = WebhookLayer::new().with_forwarded_statuses(|status| status.is_success());
    let patched = patched_by(&layer, &document);
    let delivery = delivery(run(&patched));
    let types = ["application/json", "application/problem+json"];
    assert_eq!(keys(&delivery["requestBody"]["content"]), types);
    let status = parameter(&patched, delivery, "X-Webhook-Response-Status");
    assert_eq!(keys(&status["examples"]), ["200"]);
    let fail = &patched["paths"]["/fail"]["post"];
    let notices = &crate::delivery(fail)["requestBody"]["content"];
    assert_eq!(
        keys(notices),
        ["application/problem+json"],
        "nothing else is forwarded"
    );

    let layer =
        WebhookLayer::new().with_forwarded_statuses(|status| status == StatusCode::CONFLICT);
    let patched = patched_by(&layer, &document);
    let content = &crate::delivery(&patched["paths"]["/fail"]["post"])["requestBody"]["content"];
    assert!(content["text/plain"].is_object(), "409 is one of 4XX");
}

#[test]
fn an_answer_leads_to_what_the_retry_policy_says() {
    let delivered = "Delivered.";
    let dead = "Final: the delivery has failed and is not tried again.";
    let again = |attempts: u32| format!("Tried again: {attempts} attempts at most.");
    let never = json!({ "2XX": delivered, "3XX": dead, "4XX": dead, "5XX": dead });
    for (policy, expected) in [
        (RetryPolicy::builder().build(), never.clone()),
        (
            RetryPolicy::builder()
                .with_delays([Duration::from_secs(1)])
                .retrying(|outcome| match outcome {
                    Outcome::Answered { status, .. } => status == StatusCode::IM_A_TEAPOT,
                    Outcome::Failed(_) => true,
                })
                .build(),
            json!({ "2XX": delivered, "3XX": dead, "418": again(2), "4XX": dead, "5XX": dead }),
        ),
        (
            RetryPolicy::cerebrium(),
            json!({
                "2XX": delivered, "3XX": again(3), "404": again(3), "4XX": dead, "5XX": dead,
            }),
        ),
        (
            RetryPolicy::standard_webhooks(),
            json!({
                "2XX": delivered, "3XX": again(10), "410": dead, "4XX": again(10), "5XX": again(10),
            }),
        ),
    ] {
        let dispatcher = Dispatcher::builder().with_retry_policy(policy).build();
        let layer = WebhookLayer::new().with_dispatcher(dispatcher);
        let document = patched_by(&layer, &plain());
        let delivery = delivery(run(&document));
        let unanswered = delivery["description"].as_str().unwrap();
        let again = "Where it is not answered, it is tried again";
        assert_eq!(unanswered.contains(again), expected != never);
        let responses = delivery["responses"].as_object().unwrap();
        let said = responses.iter().map(|(status, response)| {
            let response = resolved(&document, response);
            (status.clone(), response["description"].clone())
        });
        assert_eq!(Value::Object(said.collect()), expected);
    }
}

#[test]
fn only_selected_operations_are_described() {
    let operation = json!({ "responses": { "200": json_response("Fine", &json!(true)) } });
    let document = api(json!({
        "/runs": { "get": operation, "post": operation },
        "/runs/{id}": { "post": operation },
        "/health": { "get": operation },
    }));
    let mut patched = document.clone();
    let layer = WebhookLayer::new();
    let runs = |method: &Method, path: &str| *method == Method::POST && path.starts_with("/runs");
    layer
        .openapi()
        .with_operations(runs)
        .patch(&mut patched)
        .unwrap();
    assert_valid(&patched);
    for (path, method, is_described) in [
        ("/runs", "get", false),
        ("/runs", "post", true),
        ("/runs/{id}", "post", true),
        ("/health", "get", false),
    ] {
        let now = &patched["paths"][path][method];
        assert_eq!(
            now["callbacks"].is_object(),
            is_described,
            "{method} {path}"
        );
        assert_eq!(*now == operation, !is_described, "{method} {path}");
    }
}

#[test]
fn two_layers_in_one_document_keep_their_names() {
    let operation = json!({ "responses": { "200": json_response("Fine", &json!(true)) } });
    let mut document = api(json!({ "/a": { "post": operation }, "/b": { "post": operation } }));
    for (path, brand, parameter) in [("/a", "Ada", "adaUrl"), ("/b", "Bob", "bobUrl")] {
        let dispatcher = Dispatcher::builder().with_brand(Brand::new(brand).unwrap());
        let layer = WebhookLayer::new()
            .with_dispatcher(dispatcher.build())
            .with_endpoint_parameter(parameter);
        let description = layer
            .openapi()
            .with_operations(move |_, other| other == path);
        description.patch(&mut document).unwrap();
    }
    assert_valid(&document);
    for (path, brand, parameter) in [("/a", "Ada", "adaUrl"), ("/b", "Bob", "bobUrl")] {
        let operation = &document["paths"][path]["post"];
        let names = parameters(&document, operation);
        assert_eq!(names[0], format!("query {parameter}"));
        let to = format!("{{$request.query.{parameter}}}");
        let names = parameters(&document, &operation["callbacks"]["webhook"][to]["post"]);
        assert_eq!(names[1], format!("header X-{brand}-Webhook-Timestamp"));
    }
}

#[test]
fn asynchronous_requests_are_described_where_they_are_on() {
    let own = json_response("Later", &json!(true));
    let document = api_with(json!({ "responses": { "202": own, "404": own } }));
    let layer = WebhookLayer::new().with_longest_wait(Duration::from_secs(7));
    let patched = patched_by(&layer, &document);
    let expected = [
        "query webhookEndpoint",
        "header X-Webhook-Secret",
        "header X-Request-Id",
        "query async",
        "header Prefer",
    ];
    assert_eq!(parameters(&patched, run(&patched)), expected);
    let prefer = parameter(&patched, run(&patched), "Prefer");
    let said = prefer["description"].as_str().unwrap();
    assert!(said.contains("in seconds, 7 at most"), "{said}");
    let accepted = &run(&patched)["responses"]["202"];
    let schema = &accepted["content"]["application/json"]["schema"];
    let of_run = json!({ "$ref": "#/components/schemas/WebhookRun" });
    assert_eq!(
        *schema,
        json!({ "anyOf": [true, of_run] }),
        "the service's own, or ours"
    );
    assert_eq!(
        keys(&accepted["headers"]),
        ["Preference-Applied", "X-Request-Id"]
    );

    let patched = patched_by(&WebhookLayer::new(), &document);
    assert_eq!(run(&patched)["responses"]["202"], own);
    assert!(!patched.to_string().contains("respond-async"));
}

#[test]
fn failure_notices_are_described_where_they_are_on() {
    let document = api_with(json!({ "responses": { "204": { "description": "Gone" } } }));
    let layer = WebhookLayer::new().without_failure_notices();
    let patched = patched_by(&layer, &document);
    assert!(!patched.to_string().contains("Failure"));
    let delivery = delivery(run(&patched));
    assert!(delivery["requestBody"].is_null(), "there is never a body");
    let status = parameter(&patched, delivery, "X-Webhook-Response-Status");
    assert_eq!(status["required"], true);
}
