use http::HeaderName;

use super::{Dispatcher, RetryPolicy};
use crate::{
    delivery::Brand,
    event::Outcome,
    id::{DeliveryId, RequestId},
    outbox::Verdict,
};

/// The settings that name the headers of a delivery.
pub(super) struct Names {
    pub(super) brand: Brand,
    pub(super) standard_headers: bool,
    pub(super) has_signing_key: bool,
    /// The operator's, each once.
    pub(super) fixed: Vec<HeaderName>,
}

/// What a dispatcher does, for those who describe it to people.
impl Dispatcher {
    pub(crate) fn brand(&self) -> &Brand {
        &self.shared.names.brand
    }

    pub(crate) fn has_standard_headers(&self) -> bool {
        // Keys sign the Standard Webhooks form.
        self.shared.names.standard_headers || self.has_signing_key()
    }

    pub(crate) fn has_signing_key(&self) -> bool {
        self.shared.names.has_signing_key
    }

    pub(crate) fn fixed_headers(&self) -> &[HeaderName] {
        &self.shared.names.fixed
    }

    /// What a first attempt leads to that ends so, where the endpoint's host has no retry policy of its
    /// own.
    pub(crate) fn verdict_on(&self, outcome: Outcome) -> Verdict {
        // The id is for jitter alone.
        let id = RequestId::from(DeliveryId::fresh());
        self.retry_policy().verdict(&id, 1, outcome)
    }

    /// How many attempts a delivery gets at most, where its host has no retry policy of its own.
    pub(crate) fn attempts(&self) -> u32 {
        self.retry_policy().attempts()
    }

    fn retry_policy(&self) -> &RetryPolicy {
        &self.shared.core.retry.of_all
    }
}
