use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{
    document::{Document, object},
    error::OpenApiError,
    wire::Wire,
};

/// A parameter, and the name under which it is kept in the document's components.
pub(super) struct Parameter {
    component: &'static str,
    value: Value,
}

impl Parameter {
    pub(super) fn query(component: &'static str, name: &str, value: Value) -> Self {
        Self::new(component, "query", name, value)
    }

    pub(super) fn header(component: &'static str, name: &str, value: Value) -> Self {
        Self::new(component, "header", name, value)
    }

    fn new(component: &'static str, place: &str, name: &str, mut value: Value) -> Self {
        value["name"] = json!(name);
        value["in"] = json!(place);
        Self { component, value }
    }

    pub(super) fn reference(&self, document: &mut Document<'_>) -> Result<Value, OpenApiError> {
        document.component("parameters", self.component, &self.value)
    }

    /// Whether these are the same parameter to OpenAPI. Names of headers ignore case.
    fn is(&self, other: &Value) -> bool {
        let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let (name, other_name) = (text(&self.value, "name"), text(other, "name"));
        let place = text(&self.value, "in");
        let is_named_so = match &*place {
            "header" => name.eq_ignore_ascii_case(&other_name),
            _ => name == other_name,
        };
        is_named_so && place == text(other, "in")
    }
}

/// Adds to an operation what the layer reads of a request. What the operation or its path has already
/// stays as it is.
pub(super) fn add_to<'a>(
    operation: &mut Map<String, Value>,
    document: &mut Document<'a>,
    wire: &Wire,
    given: &[&'a Value],
    place: &str,
) -> Result<(), OpenApiError> {
    let mut known = Vec::new();
    for list in given {
        let list = list.as_array();
        let list =
            list.ok_or_else(|| OpenApiError::malformed(&format!("{place}/parameters"), "a list"))?;
        for parameter in list {
            if let Some(parameter) = document.resolve(parameter)? {
                object(parameter, &format!("a parameter of {place}"))?;
                known.push(parameter);
            }
        }
    }
    for parameter in of_a_call(wire) {
        if !known.iter().any(|known| parameter.is(known)) {
            let reference = parameter.reference(document)?;
            let list = operation.entry("parameters").or_insert_with(|| json!([]));
            if let Some(list) = list.as_array_mut() {
                list.push(reference);
            }
        }
    }
    Ok(())
}

fn of_a_call(wire: &Wire) -> Vec<Parameter> {
    let endpoint = json!({
        "description": "The URL that this call's response is also POSTed to, signed and retried. \
                        Without it the call is as any other.",
        "schema": { "type": "string", "format": "uri", "minLength": 1, "maxLength": 2048 },
    });
    let secret = json!({
        "description": match wire.is_secret_required() {
            true => "The key that the delivery is signed with: the value's bytes, as sent. Required \
                     of a call that names an endpoint.",
            false => "The key that the delivery is signed with: the value's bytes, as sent. Without \
                      it the delivery is not signed.",
        },
        "schema": { "type": "string", "format": "password", "minLength": 1, "maxLength": 1024 },
    });
    let request_id = json!({
        "description": "The id that the delivery has in its header of this name: 1 to 128 of \
                        `A-Z a-z 0-9 _ -`. For any other value, and without one, it is a new UUID.",
        "schema": { "type": "string" },
    });
    let mut parameters = vec![Parameter::query(
        "WebhookEndpoint",
        wire.endpoint_parameter(),
        endpoint.clone(),
    )];
    if let Some(name) = wire.endpoint_header() {
        let mut value = endpoint;
        value["description"] = json!(format!(
            "The same as the query parameter `{}`, for callers who cannot set a query. One of the two \
             is given, not both.",
            wire.endpoint_parameter()
        ));
        parameters.push(Parameter::header("WebhookEndpointHeader", &name, value));
    }
    parameters.push(Parameter::header(
        "WebhookSecret",
        &wire.secret_header(),
        secret,
    ));
    parameters.push(Parameter::header(
        "WebhookRequestId",
        "X-Request-Id",
        request_id,
    ));
    if let Some(longest_wait) = wire.longest_wait() {
        parameters.extend(of_an_asynchronous_call(longest_wait, wire.is_polled()));
    }
    parameters
}

/// `is_polled`: whether a call may do without an endpoint.
fn of_an_asynchronous_call(longest_wait: Duration, is_polled: bool) -> [Parameter; 2] {
    let (beside, goes) = match is_polled {
        true => ("With or without", "endpoint, if any, and can be looked up"),
        false => ("Beside", "endpoint alone"),
    };
    let asynchronous = json!({
        "description": format!(
            "{beside} an endpoint: whether to answer with 202 at once. The response then goes to the {goes}."
        ),
        "schema": { "type": "boolean", "default": false },
    });
    let prefer = json!({
        "description": format!(
            "{beside} an endpoint (RFC 7240): `respond-async` is answered with 202 at once. With `wait`, in \
             seconds, {} at most, the response is waited for so long before that. Other preferences are \
             ignored.",
            longest_wait.as_secs()
        ),
        "schema": { "type": "string" },
        "examples": {
            "at once": { "value": "respond-async" },
            "after ten seconds": { "value": "respond-async, wait=10" },
        },
    });
    [
        Parameter::query("WebhookAsync", "async", asynchronous),
        Parameter::header("WebhookPrefer", "Prefer", prefer),
    ]
}
