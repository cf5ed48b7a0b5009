use std::time::Duration;

use http::{HeaderName, StatusCode};

use crate::{dispatch::Dispatcher, layer::WebhookLayer};

/// What a layer and its dispatcher do on the wire, with the names that they were told to use.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    layer: WebhookLayer,
}

impl Wire {
    pub(super) fn of(layer: &WebhookLayer) -> Self {
        Self {
            layer: layer.clone(),
        }
    }

    pub(super) fn endpoint_parameter(&self) -> &str {
        self.layer.reader().endpoint_parameter.name()
    }

    pub(super) fn endpoint_header(&self) -> Option<String> {
        self.layer.reader().endpoint_header.as_ref().map(readable)
    }

    pub(super) fn secret_header(&self) -> String {
        readable(&self.layer.reader().secret_header)
    }

    pub(super) fn is_secret_required(&self) -> bool {
        self.layer.reader().secret_required
    }

    pub(super) fn forwards(&self, status: u16) -> bool {
        StatusCode::from_u16(status).is_ok_and(|status| self.layer.forwards(status))
    }

    /// How long a call waits at most before it gets a 202; `None` where none does.
    pub(super) fn longest_wait(&self) -> Option<Duration> {
        self.layer.longest_wait()
    }

    /// Whether callers are told where to look what has become of their calls.
    pub(super) fn has_status(&self) -> bool {
        self.layer.has_status()
    }

    /// Whether a call may do without an endpoint, as its result can be looked up.
    pub(super) fn is_polled(&self) -> bool {
        self.has_status() && self.dispatcher().polling().is_some()
    }

    /// The operator's headers of every delivery.
    pub(super) fn fixed_headers(&self) -> impl Iterator<Item = String> {
        self.dispatcher().fixed_headers().iter().map(readable)
    }

    /// Whether an endpoint hears of a webhook that never becomes a delivery.
    pub(super) fn has_failure_notices(&self) -> bool {
        self.layer.has_failure_notices()
    }

    pub(super) fn branded_timestamp(&self) -> String {
        readable(self.dispatcher().brand().timestamp())
    }

    pub(super) fn branded_signature(&self) -> String {
        readable(self.dispatcher().brand().signature())
    }

    pub(super) fn dispatcher(&self) -> &Dispatcher {
        self.layer.dispatcher()
    }

    /// Where a delivery goes, as runtime expressions of OpenAPI.
    pub(super) fn expressions(&self) -> Vec<String> {
        let in_query = format!("{{$request.query.{}}}", self.endpoint_parameter());
        let header = &self.layer.reader().endpoint_header;
        let in_header = header
            .as_ref()
            .map(|name| format!("{{$request.header.{name}}}"));
        std::iter::once(in_query).chain(in_header).collect()
    }
}

/// A header's name as people write it: `X-Request-Id`.
fn readable(name: &HeaderName) -> String {
    let mut starts_a_word = true;
    let letters = name.as_str().chars().map(|letter| {
        let written = match starts_a_word {
            true => letter.to_ascii_uppercase(),
            false => letter,
        };
        starts_a_word = letter == '-';
        written
    });
    letters.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_written_as_people_write_it() {
        for (name, written) in [
            ("x-request-id", "X-Request-Id"),
            ("x-acme-2-webhook-signature", "X-Acme-2-Webhook-Signature"),
            ("callback", "Callback"),
        ] {
            assert_eq!(readable(&HeaderName::from_static(name)), written);
        }
    }
}
