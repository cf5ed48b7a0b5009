//! Whether a document is valid OpenAPI 3.1, by the OpenAPI Initiative's JSON Schema and a validator that is
//! not ours; and what no schema can say.

use std::{collections::HashSet, fs, path::Path, sync::LazyLock};

use serde_json::{Value, json};

static VALIDATOR: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("tests/openapi/oas/schema-3.1-2022-10-07.json");
    let oas: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    // That schema leaves out what schemas in a document are. Here they are JSON Schema.
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://example.com/openapi-with-schemas",
        "$ref": oas["$id"],
        "$defs": {
            "oas": oas,
            "schema": {
                "$dynamicAnchor": "meta",
                "$ref": "https://json-schema.org/draft/2020-12/schema",
            },
        },
    });
    jsonschema::validator_for(&schema).unwrap()
});

#[track_caller]
pub(crate) fn assert_valid(document: &Value) {
    let errors = errors_of(document);
    assert!(errors.is_empty(), "{}\n{document:#}", errors.join("\n"));
}

pub(crate) fn errors_of(document: &Value) -> Vec<String> {
    let errors = VALIDATOR.iter_errors(document);
    let mut errors: Vec<_> = errors
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    look_through(document, document, &mut errors);
    errors
}

/// References lead somewhere, and no operation has a parameter twice.
fn look_through(document: &Value, part: &Value, errors: &mut Vec<String>) {
    match part {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref")
                && let Some(pointer) = reference.strip_prefix('#')
                && document.pointer(pointer).is_none()
            {
                errors.push(format!("{reference} leads nowhere"));
            }
            if let Some(Value::Array(parameters)) = members.get("parameters") {
                let mut names = HashSet::new();
                for parameter in parameters {
                    let parameter = resolved(document, parameter);
                    let mut name = parameter["name"].to_string();
                    if parameter["in"] == "header" {
                        name.make_ascii_lowercase();
                    }
                    if !names.insert((name, parameter["in"].to_string())) {
                        errors.push(format!("{parameter} is there twice"));
                    }
                }
            }
            for member in members.values() {
                look_through(document, member, errors);
            }
        }
        Value::Array(items) => {
            for item in items {
                look_through(document, item, errors);
            }
        }
        _ => {}
    }
}

/// What a reference within the document stands for; any other stands for itself.
pub(crate) fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let reference = value["$ref"].as_str();
    let pointer = reference.and_then(|reference| reference.strip_prefix('#'));
    match pointer.and_then(|pointer| document.pointer(pointer)) {
        Some(target) => resolved(document, target),
        None => value,
    }
}
