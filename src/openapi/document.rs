use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::error::{OpenApiError, OpenApiErrorKind};

/// A document that is being patched.
///
/// What is read is always the document as it was given. So the order in which its operations are
/// described does not matter, also where one refers to a part of another.
pub(super) struct Document<'a> {
    source: &'a Value,
    patched: Value,
}

/// More references than anybody chains. A longer chain is a circle.
const LONGEST_CHAIN: usize = 32;

impl<'a> Document<'a> {
    pub(super) fn read(source: &'a Value) -> Result<Self, OpenApiError> {
        let unsupported = |version: &str| {
            OpenApiError::new(OpenApiErrorKind::UnsupportedVersion, version.to_owned())
        };
        match (&source["openapi"], &source["swagger"]) {
            (Value::String(version), _) if is_3_1(version) => Ok(Self {
                source,
                patched: source.clone(),
            }),
            (Value::String(version), _) | (Value::Null, Value::String(version)) => {
                Err(unsupported(version))
            }
            _ => Err(OpenApiError::new(OpenApiErrorKind::NotOpenApi, "")),
        }
    }

    pub(super) fn into_value(self) -> Value {
        self.patched
    }

    pub(super) fn paths(&self) -> Result<Option<&'a Map<String, Value>>, OpenApiError> {
        let paths = self.source.get("paths");
        paths.map(|paths| object(paths, "/paths")).transpose()
    }

    pub(super) fn set_path_item(&mut self, path: &str, item: Map<String, Value>) {
        self.patched["paths"][path] = Value::Object(item);
    }

    /// What a value stands for, which may be a reference. `None` where that is in another document.
    pub(super) fn resolve(&self, value: &'a Value) -> Result<Option<&'a Value>, OpenApiError> {
        let mut found = value;
        for _ in 0..LONGEST_CHAIN {
            let Some(reference) = found.get("$ref").and_then(Value::as_str) else {
                return Ok(Some(found));
            };
            let Some(fragment) = reference.strip_prefix('#') else {
                return Ok(None);
            };
            let pointer = percent_decode_str(fragment).decode_utf8_lossy();
            let target = self.source.pointer(&pointer);
            found = target.ok_or_else(|| broken(reference))?;
        }
        Err(broken(value["$ref"].as_str().unwrap_or_default()))
    }

    /// The response that this stands for. What is said beside a reference holds in place of what it refers
    /// to. `None` where it is in another document.
    pub(super) fn response(
        &self,
        value: &'a Value,
        place: &str,
    ) -> Result<Option<Map<String, Value>>, OpenApiError> {
        let given = object(value, place)?;
        let Some(resolved) = self.resolve(value)? else {
            return Ok(None);
        };
        let mut response = object(resolved, place)?.clone();
        if let Some(description) = given.get("description") {
            response.insert("description".to_owned(), description.clone());
        }
        Ok(Some(response))
    }

    /// A reference to this component. It is added where the document does not have it yet; where
    /// another one has its name, it gets the next free name.
    pub(super) fn component(
        &mut self,
        section: &str,
        name: &str,
        value: &Value,
    ) -> Result<Value, OpenApiError> {
        let root = self.patched.as_object_mut();
        let components = root.map(|root| root.entry("components").or_insert_with(|| json!({})));
        let components = components.and_then(Value::as_object_mut);
        let components =
            components.ok_or_else(|| OpenApiError::malformed("/components", "an object"))?;
        let entries = components.entry(section).or_insert_with(|| json!({}));
        let entries = entries.as_object_mut().ok_or_else(|| {
            OpenApiError::malformed(&format!("/components/{section}"), "an object")
        })?;
        let name = free_name(name, |name| {
            entries.get(name).is_none_or(|given| given == value)
        });
        let reference = json!({ "$ref": format!("#/components/{section}/{name}") });
        entries.entry(name).or_insert_with(|| value.clone());
        Ok(reference)
    }
}

/// The name itself, or the first that is free of those with a number after it.
pub(super) fn free_name(name: &str, is_free: impl Fn(&str) -> bool) -> String {
    let numbered = (2_u64..).map(|number| format!("{name}{number}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    names
        .find(|name| is_free(name))
        .expect("a document has fewer names than there are numbers")
}

pub(super) fn object<'v>(
    value: &'v Value,
    place: &str,
) -> Result<&'v Map<String, Value>, OpenApiError> {
    let object = value.as_object();
    object.ok_or_else(|| OpenApiError::malformed(place, "an object"))
}

/// A name as a JSON pointer has it (RFC 6901).
pub(super) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn is_3_1(version: &str) -> bool {
    let patch = version.strip_prefix("3.1.");
    patch.is_some_and(|patch| patch.starts_with(|first: char| first.is_ascii_digit()))
}

fn broken(reference: &str) -> OpenApiError {
    OpenApiError::new(OpenApiErrorKind::BrokenReference, reference)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_versions_of_3_1_are_read() {
        for version in ["3.1.0", "3.1.1", "3.1.2", "3.1.10", "3.1.0-rc1"] {
            assert!(is_3_1(version), "{version}");
        }
        for version in [
            "", "3", "3.1", "3.1.", "3.1.x", "3.0.3", "3.10.0", "3.2.0", "2.0",
        ] {
            assert!(!is_3_1(version), "{version}");
        }
    }

    #[test]
    fn a_component_keeps_its_name_while_it_is_the_same() {
        let source = json!({
            "openapi": "3.1.0",
            "components": { "schemas": { "Other": { "type": "string" } } },
        });
        let mut document = Document::read(&source).unwrap();
        let mut add = |name: &str, value: &Value| {
            let reference = document.component("schemas", name, value).unwrap();
            reference["$ref"].as_str().unwrap().to_owned()
        };
        let integer = json!({ "type": "integer" });
        for _ in 0..2 {
            assert_eq!(add("Mine", &integer), "#/components/schemas/Mine");
            assert_eq!(add("Other", &integer), "#/components/schemas/Other2");
        }
        let patched = document.into_value();
        assert_eq!(
            patched["components"]["schemas"].as_object().unwrap().len(),
            3
        );
    }

    #[test]
    fn references_are_followed_within_the_document_alone() {
        let source = json!({
            "openapi": "3.1.0",
            "a/b c": { "found": true },
            "one": { "$ref": "#/two" },
            "two": { "$ref": "#/a~1b%20c" },
            "outside": { "$ref": "other.json#/a" },
            "circle": { "$ref": "#/circle" },
            "nowhere": { "$ref": "#/there" },
        });
        let document = Document::read(&source).unwrap();
        let found = document.resolve(&source["one"]).unwrap().unwrap();
        assert_eq!(found["found"], true);
        assert_eq!(document.resolve(&source["outside"]), Ok(None));
        for broken in ["circle", "nowhere"] {
            let error = document.resolve(&source[broken]).unwrap_err();
            assert_eq!(error.kind(), OpenApiErrorKind::BrokenReference, "{broken}");
        }
    }
}
