use http::Method;
use serde_json::{Map, Value};

use super::{
    Selects,
    document::{Document, escaped, object},
    error::OpenApiError,
    operation::Operation,
    wire::Wire,
};

/// `OPTIONS` is a browser's preflight as a rule, and OpenAPI has no `CONNECT`.
const METHODS: [Method; 7] = [
    Method::GET,
    Method::PUT,
    Method::POST,
    Method::DELETE,
    Method::HEAD,
    Method::PATCH,
    Method::TRACE,
];

/// What a document says of one path.
pub(super) struct PathItem<'a> {
    path: &'a str,
    /// The same as `referred` where it is no reference.
    given: &'a Map<String, Value>,
    referred: &'a Map<String, Value>,
}

impl<'a> PathItem<'a> {
    /// `None` where it is in another document.
    pub(super) fn read(
        document: &Document<'a>,
        path: &'a str,
        item: &'a Value,
    ) -> Result<Option<Self>, OpenApiError> {
        let place = place(path);
        let given = object(item, &place)?;
        let Some(referred) = document.resolve(item)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            path,
            given,
            referred: object(referred, &place)?,
        }))
    }

    /// The same, with those of its operations described that are selected, and with what it refers to in
    /// place of the reference: that may be the path item of others too. `None` where nothing changes.
    pub(super) fn described(
        &self,
        document: &mut Document<'a>,
        wire: &Wire,
        selects: &Selects,
    ) -> Result<Option<Map<String, Value>>, OpenApiError> {
        let mut described = Vec::new();
        for method in METHODS {
            let name = method.as_str().to_ascii_lowercase();
            let value = self.member(&name);
            let Some(value) = value.filter(|_| selects(&method, self.path)) else {
                continue;
            };
            let operation = Operation {
                method,
                value,
                shared_parameters: self.member("parameters"),
                place: format!("{}/{name}", place(self.path)),
            };
            if let Some(value) = operation.described(document, wire)? {
                described.push((name, value));
            }
        }
        if described.is_empty() {
            return Ok(None);
        }
        let members = self.referred.iter().chain(self.given);
        let members = members.filter(|(name, _)| *name != "$ref");
        let members = members.map(|(name, member)| (name.clone(), member.clone()));
        Ok(Some(members.chain(described).collect()))
    }

    /// What is said beside a reference wins.
    fn member(&self, name: &str) -> Option<&'a Value> {
        self.given.get(name).or_else(|| self.referred.get(name))
    }
}

fn place(path: &str) -> String {
    format!("/paths/{}", escaped(path))
}
