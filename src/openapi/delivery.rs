use serde_json::{Map, Value, json};

use super::{
    document::Document, error::OpenApiError, parameters::Parameter, responses::Forwarded,
    wire::Wire,
};
use crate::event::FailReason;

/// The reasons of a failure notice.
fn reasons() -> impl Iterator<Item = &'static str> {
    let told = FailReason::ALL.iter().filter(|reason| reason.is_told());
    told.map(|reason| reason.name())
}

/// The headers of a delivery, as parameters of its receiver.
pub(super) fn headers(
    document: &mut Document<'_>,
    wire: &Wire,
    forwarded: &Forwarded,
) -> Result<Vec<Value>, OpenApiError> {
    let with_a_secret = "Only where the call had a secret: `v1,` and the HMAC-SHA256 of";
    let timestamp = json!({
        "description": "When this attempt was sent, in Unix seconds.",
        "required": true,
        "schema": { "type": "integer", "format": "int64", "minimum": 0 },
    });
    let header = Parameter::header;
    let mut headers = vec![
        header(
            "WebhookDeliveryRequestId",
            "X-Request-Id",
            json!({
                "description": "The call's request id, the same on every attempt.",
                "required": true,
                "schema": { "type": "string", "pattern": "^[A-Za-z0-9_-]{1,128}$" },
            }),
        ),
        header(
            "WebhookBrandTimestamp",
            &wire.branded_timestamp(),
            timestamp.clone(),
        ),
        header(
            "WebhookBrandSignature",
            &wire.branded_signature(),
            json!({
                "description": format!(
                    "{with_a_secret} `{{X-Request-Id}}.{{timestamp}}.{{body}}`, in lower-case hex."
                ),
                "required": wire.is_secret_required(),
                "schema": { "type": "string", "pattern": "^v1,[0-9a-f]{64}$" },
            }),
        ),
    ];
    let has_key = wire.dispatcher().has_signing_key();
    let further = match has_key {
        true => {
            "After a space, or alone, follows for each of the service's own keys `v1a,` and the \
                 Ed25519 signature of the same, in base64."
        }
        false => "Further signatures may follow, each after a space.",
    };
    if wire.dispatcher().has_standard_headers() {
        headers.extend([
            header(
                "WebhookId",
                "webhook-id",
                json!({
                    "description": "The delivery's id: unique, the same on every attempt.",
                    "required": true,
                    "schema": { "type": "string", "format": "uuid" },
                }),
            ),
            header("WebhookTimestamp", "webhook-timestamp", timestamp),
            header(
                "WebhookSignature",
                "webhook-signature",
                json!({
                    "description": format!(
                        "{with_a_secret} `{{webhook-id}}.{{timestamp}}.{{body}}`, in base64, as of \
                         Standard Webhooks. {further}"
                    ),
                    "required": has_key || wire.is_secret_required(),
                    "schema": { "type": "string" },
                }),
            ),
        ]);
    }
    headers.push(header(
        "WebhookAttempt",
        "X-Webhook-Attempt",
        json!({
            "description": "1 for the first attempt, 2 for the second.",
            "required": true,
            "schema": { "type": "integer", "minimum": 1 },
        }),
    ));
    if wire.has_failure_notices() {
        headers.push(header(
            "WebhookFailureReason",
            "X-Webhook-Failure",
            json!({
                "description": "Why there is no response to deliver; only on such a notice.",
                "schema": { "type": "string", "enum": reasons().collect::<Vec<_>>() },
            }),
        ));
    }
    headers.push(header(
        "WebhookTraceParent",
        "traceparent",
        json!({
            "description": "Where the call, or the service, is traced: the trace (W3C Trace Context).",
            "schema": { "type": "string", "pattern": "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$" },
        }),
    ));
    let references = headers.iter().map(|header| header.reference(document));
    let mut all = references.collect::<Result<Vec<_>, _>>()?;
    all.push(response_status(wire, forwarded));
    all.extend(wire.fixed_headers().map(|name| of_operator(&name)));
    Ok(all)
}

/// Its value may be a credential: it is not told.
fn of_operator(name: &str) -> Value {
    json!({
        "name": name,
        "in": "header",
        "description": "The same on every delivery of this service.",
        "required": true,
        "schema": { "type": "string" },
    })
}

/// Other statuses than those that are described may be forwarded as well, so they are examples.
fn response_status(wire: &Wire, forwarded: &Forwarded) -> Value {
    let mut parameter = json!({
        "name": "X-Webhook-Response-Status",
        "in": "header",
        "description": "The status of the response.",
        "required": !wire.has_failure_notices(),
        "schema": { "type": "integer", "minimum": 100, "maximum": 999 },
    });
    let mut examples = Map::new();
    for (key, description) in &forwarded.statuses {
        if let Ok(status) = key.parse::<u16>() {
            let example = match &**description {
                "" => json!({ "value": status }),
                summary => json!({ "summary": summary, "value": status }),
            };
            examples.insert(key.clone(), example);
        }
    }
    if !examples.is_empty() {
        parameter["examples"] = Value::Object(examples);
    }
    parameter
}

/// The body of a failure notice (RFC 9457).
pub(super) fn failure() -> Value {
    let types = reasons().map(|reason| format!("urn:tower-webhook:failure:{reason}"));
    json!({
        "description": "Why an accepted webhook has no response to deliver.",
        "type": "object",
        "properties": {
            "type": { "type": "string", "enum": types.collect::<Vec<_>>() },
            "title": { "type": "string" },
            "run_id": { "description": "The call's request id.", "type": "string" },
        },
        "required": ["type", "title", "run_id"],
    })
}
