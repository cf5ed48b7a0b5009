use http::Method;
use serde_json::{Map, Value};

use super::{
    answers, callback,
    document::{Document, object},
    error::OpenApiError,
    parameters,
    responses::Forwarded,
    wire::Wire,
};

/// An operation of a document, as it was given.
pub(super) struct Operation<'a> {
    pub(super) method: Method,
    pub(super) value: &'a Value,
    /// Those of its path.
    pub(super) shared_parameters: Option<&'a Value>,
    /// Where it is in the document, as a JSON pointer.
    pub(super) place: String,
}

impl<'a> Operation<'a> {
    /// The same with everything that the layer adds. `None` where none of its calls is ever a webhook.
    pub(super) fn described(
        &self,
        document: &mut Document<'a>,
        wire: &Wire,
    ) -> Result<Option<Value>, OpenApiError> {
        let given = object(self.value, &self.place)?;
        let responses = given
            .get("responses")
            .map(|responses| object(responses, &format!("{}/responses", self.place)));
        let responses = responses.transpose()?;
        let Some(forwarded) = Forwarded::read(document, wire, self, responses)? else {
            return Ok(None);
        };
        let mut described: Map<String, Value> = given.clone();
        let parameters = [self.shared_parameters, given.get("parameters")];
        let parameters: Vec<_> = parameters.into_iter().flatten().collect();
        parameters::add_to(&mut described, document, wire, &parameters, &self.place)?;
        answers::add_to(&mut described, document, wire, responses, &self.place)?;
        let callbacks = given.get("callbacks");
        let callbacks = callbacks.map(|own| object(own, &format!("{}/callbacks", self.place)));
        callback::add_to(
            &mut described,
            document,
            wire,
            callbacks.transpose()?,
            &forwarded,
        )?;
        Ok(Some(Value::Object(described)))
    }
}
