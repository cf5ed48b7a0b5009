use serde_json::{Map, Value, json};

/// Makes a body of this media type be of this schema as well, beside what it can be already.
pub(super) fn admit(content: &mut Map<String, Value>, media_type: &str, schema: Value) {
    let Some(given) = same_type(content, media_type) else {
        content.insert(media_type.to_owned(), json!({ "schema": schema }));
        return;
    };
    // Without a schema it can be anything already.
    if let Some(given) = given.get_mut("schema") {
        add_alternative(given, schema);
    }
}

/// Makes a body be what this media type object says as well.
pub(super) fn unite(content: &mut Map<String, Value>, media_type: &str, other: &Value) {
    let Some(given) = same_type(content, media_type) else {
        content.insert(media_type.to_owned(), other.clone());
        return;
    };
    match (given.get_mut("schema"), other.get("schema")) {
        (Some(given), Some(other)) => add_alternative(given, other.clone()),
        _ => *given = json!({}),
    }
}

/// Parameters such as `charset` make no other type.
fn same_type<'a>(content: &'a mut Map<String, Value>, media_type: &str) -> Option<&'a mut Value> {
    let wanted = essence(media_type);
    let mut entries = content.iter_mut();
    let found = entries.find(|(given, _)| essence(given).eq_ignore_ascii_case(wanted));
    found.map(|(_, value)| value)
}

fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

fn add_alternative(given: &mut Value, other: Value) {
    if *given == other {
        return;
    }
    let is_union = given.as_object().is_some_and(|given| given.len() == 1);
    match given.get_mut("anyOf").and_then(Value::as_array_mut) {
        Some(alternatives) if is_union => {
            if !alternatives.contains(&other) {
                alternatives.push(other);
            }
        }
        _ => {
            let first = given.take();
            *given = json!({ "anyOf": [first, other] });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_admitted_once() {
        let mut content = Map::new();
        for schema in ["A", "B", "A", "C", "B"] {
            admit(&mut content, "application/json", json!({ "$ref": schema }));
        }
        let expected = json!({ "application/json": { "schema": {
            "anyOf": [{ "$ref": "A" }, { "$ref": "B" }, { "$ref": "C" }],
        } } });
        assert_eq!(Value::Object(content), expected);
    }

    #[test]
    fn a_media_type_is_found_however_it_is_written() {
        let mut content = Map::new();
        content.insert("Application/JSON; charset=utf-8".to_owned(), json!({}));
        admit(&mut content, "application/json", json!(true));
        assert_eq!(content.len(), 1);
    }

    #[test]
    fn what_can_be_anything_stays_so() {
        let typed = json!({ "schema": { "type": "string" } });
        for (first, second) in [(&typed, &json!({})), (&json!({}), &typed)] {
            let mut content = Map::new();
            unite(&mut content, "text/plain", first);
            unite(&mut content, "text/plain", second);
            assert_eq!(content["text/plain"], json!({}));
        }
    }
}
