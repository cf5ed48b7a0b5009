use serde_json::{Map, Value, json};

use super::{
    delivery,
    document::{Document, free_name},
    error::OpenApiError,
    media, receipt,
    responses::Forwarded,
    wire::Wire,
};

/// Adds the webhook to the callbacks of an operation. Those that it has stay as they are; where one of
/// them goes to the endpoint already, it is the description.
pub(super) fn add_to<'a>(
    operation: &mut Map<String, Value>,
    document: &mut Document<'a>,
    wire: &Wire,
    own: Option<&'a Map<String, Value>>,
    forwarded: &Forwarded,
) -> Result<(), OpenApiError> {
    let expressions = wire.expressions();
    for callback in own.into_iter().flat_map(Map::values) {
        let described = document.resolve(callback)?;
        if expressions
            .iter()
            .any(|to| described.is_some_and(|described| described.get(to).is_some()))
        {
            return Ok(());
        }
    }
    let item = json!({ "post": post(document, wire, forwarded)? });
    let to_each = expressions.into_iter().map(|to| (to, item.clone()));
    let callback: Map<String, Value> = to_each.collect();
    let mut callbacks = own.cloned().unwrap_or_default();
    let name = free_name("webhook", |name| !callbacks.contains_key(name));
    callbacks.insert(name, Value::Object(callback));
    operation.insert("callbacks".to_owned(), Value::Object(callbacks));
    Ok(())
}

/// The POST to the endpoint, as an operation of its receiver.
fn post(
    document: &mut Document<'_>,
    wire: &Wire,
    forwarded: &Forwarded,
) -> Result<Value, OpenApiError> {
    let mut post = json!({
        "summary": "The response of this call, delivered to the webhook's endpoint",
        "description": format!(
            "Sent once the response is complete. Where it is not answered, it is {}. It may come more than \
             once: a receiver remembers its id.",
            receipt::of_no_answer(wire)
        ),
        // Nothing that the API wants of its callers is sent.
        "security": [],
        "parameters": delivery::headers(document, wire, forwarded)?,
        "responses": receipt::receipts(document, wire)?,
    });
    if let Some(body) = body(document, wire, forwarded)? {
        post["requestBody"] = body;
    }
    Ok(post)
}

/// `None` where it is always empty.
fn body(
    document: &mut Document<'_>,
    wire: &Wire,
    forwarded: &Forwarded,
) -> Result<Option<Value>, OpenApiError> {
    let mut content = forwarded.content.clone();
    let mut description = "The response's body, byte for byte".to_owned();
    if wire.has_failure_notices() {
        let schema = document.component("schemas", "WebhookFailure", &delivery::failure())?;
        media::admit(&mut content, "application/problem+json", schema);
        description +=
            "; where the call led to no response that could be delivered, a problem that says why";
    }
    if content.is_empty() {
        return Ok(None);
    }
    description.push('.');
    Ok(Some(json!({
        "description": description,
        "required": !forwarded.may_be_empty,
        "content": content,
    })))
}
