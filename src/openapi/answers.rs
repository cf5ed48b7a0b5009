use serde_json::{Map, Value, json};

use super::{
    document::{Document, object},
    error::OpenApiError,
    media,
    wire::Wire,
};

/// An answer that is the layer's own.
struct Answer {
    /// Its name in the document's components.
    component: &'static str,
    status: &'static str,
    description: &'static str,
    media_type: &'static str,
    schema: Value,
    headers: Value,
}

/// Adds the layer's own answers to the responses of an operation. Where it has a response with such a
/// status already, that is what it was, or the layer's answer.
pub(super) fn add_to<'a>(
    operation: &mut Map<String, Value>,
    document: &mut Document<'a>,
    wire: &Wire,
    own: Option<&'a Map<String, Value>>,
    place: &str,
) -> Result<(), OpenApiError> {
    let mut responses = own.cloned().unwrap_or_default();
    for answer in answers(document, wire)? {
        let place = format!("{place}/responses/{}", answer.status);
        let described = match own.and_then(|own| given_for(own, answer.status)) {
            None => Some(answer.reference(document)?),
            Some((is_exact, response)) => match document.response(response, &place)? {
                Some(response) => {
                    let both = answer.united_with(&response, &place)?;
                    let is_new = !is_exact || both != response;
                    is_new.then_some(Value::Object(both))
                }
                // It is described in another document.
                None if is_exact => None,
                None => Some(answer.reference(document)?),
            },
        };
        if let Some(described) = described {
            responses.insert(answer.status.to_owned(), described);
        }
    }
    operation.insert("responses".to_owned(), Value::Object(responses));
    Ok(())
}

impl Answer {
    fn value(&self) -> Value {
        let mut value = json!({
            "description": self.description,
            "content": { self.media_type: { "schema": self.schema } },
        });
        if self.headers.as_object().is_some_and(|all| !all.is_empty()) {
            value["headers"] = self.headers.clone();
        }
        value
    }

    fn reference(&self, document: &mut Document<'_>) -> Result<Value, OpenApiError> {
        document.component("responses", self.component, &self.value())
    }

    fn united_with(
        &self,
        response: &Map<String, Value>,
        place: &str,
    ) -> Result<Map<String, Value>, OpenApiError> {
        let mut both = response.clone();
        let mut content = members(&both, "content", place)?;
        media::admit(&mut content, self.media_type, self.schema.clone());
        both.insert("content".to_owned(), Value::Object(content));
        let mut headers = members(&both, "headers", place)?;
        for (name, header) in self.headers.as_object().into_iter().flatten() {
            if !headers.keys().any(|given| given.eq_ignore_ascii_case(name)) {
                // The other answer need not have it.
                let mut header = header.clone();
                header["required"] = json!(false);
                headers.insert(name.clone(), header);
            }
        }
        if !headers.is_empty() {
            both.insert("headers".to_owned(), Value::Object(headers));
        }
        Ok(both)
    }
}

fn answers(document: &mut Document<'_>, wire: &Wire) -> Result<Vec<Answer>, OpenApiError> {
    let problem = document.component("schemas", "WebhookProblem", &problem())?;
    let problem = |component, status, description, headers| Answer {
        component,
        status,
        description,
        media_type: "application/problem+json",
        schema: problem.clone(),
        headers,
    };
    let mut answers = vec![
        problem(
            "WebhookRefused",
            "400",
            "The webhook's endpoint or secret is not acceptable. The call was not handled.",
            json!({}),
        ),
        problem(
            "WebhookNoRoom",
            "503",
            "Another webhook cannot be taken on at this moment, in all or to this endpoint. The call \
             was not handled and can be tried again.",
            json!({ "Retry-After": {
                "description": "In seconds.",
                "required": true,
                "schema": { "type": "integer", "minimum": 0 },
            } }),
        ),
        problem(
            "WebhookLoop",
            "508",
            "The call is itself a webhook's delivery, and asks for another one. It was not handled.",
            json!({}),
        ),
    ];
    if wire.longest_wait().is_some() {
        answers.push(accepted(document, wire)?);
    }
    Ok(answers)
}

fn accepted(document: &mut Document<'_>, wire: &Wire) -> Result<Answer, OpenApiError> {
    let description = match wire.is_polled() {
        true => {
            "The call runs on. Its response goes to the webhook's endpoint, if any, and can be looked up."
        }
        false => "The call runs on. Its response goes to the webhook's endpoint.",
    };
    let run = json!({
        "description": description,
        "type": "object",
        "properties": { "run_id": { "description": "The call's request id.", "type": "string" } },
        "required": ["run_id"],
    });
    let mut headers = json!({
        "X-Request-Id": {
            "description": "The call's request id.",
            "required": true,
            "schema": { "type": "string" },
        },
        "Preference-Applied": {
            "description": "Where the 202 was preferred.",
            "schema": { "type": "string", "const": "respond-async" },
        },
    });
    if wire.has_status() {
        headers["Location"] = json!({
            "description": "Where to look what has become of the call, with its `X-Webhook-Secret`.",
            "required": true,
            "schema": { "type": "string", "format": "uri-reference" },
        });
    }
    Ok(Answer {
        component: "WebhookAccepted",
        status: "202",
        description,
        media_type: "application/json",
        schema: document.component("schemas", "WebhookRun", &run)?,
        headers,
    })
}

/// RFC 9457.
fn problem() -> Value {
    json!({
        "description": "Why a call that asked for a webhook was not handled.",
        "type": "object",
        "properties": {
            "type": { "type": "string", "format": "uri-reference" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "description": "The rule that was broken.", "type": "string" },
        },
        "required": ["type", "title", "status", "detail"],
    })
}

/// The response that describes this status, and whether it describes no other.
fn given_for<'a>(own: &'a Map<String, Value>, status: &str) -> Option<(bool, &'a Value)> {
    if let Some(exact) = own.get(status) {
        return Some((true, exact));
    }
    let range = format!("{}XX", &status[..1]);
    let wider = own.get(&range).or_else(|| own.get("default"));
    wider.map(|response| (false, response))
}

fn members(
    of: &Map<String, Value>,
    key: &str,
    place: &str,
) -> Result<Map<String, Value>, OpenApiError> {
    match of.get(key) {
        None => Ok(Map::new()),
        Some(given) => Ok(object(given, &format!("{place}/{key}"))?.clone()),
    }
}
