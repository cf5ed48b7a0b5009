use http::StatusCode;

use super::Dispatcher;
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
}

/// What a dispatcher does, for those who describe it to people.
impl Dispatcher {
    pub(crate) fn brand(&self) -> &Brand {
        &self.shared.names.brand
    }

    pub(crate) fn has_standard_headers(&self) -> bool {
        self.shared.names.standard_headers
    }

    /// What becomes of a delivery whose first attempt is answered with this status.
    pub(crate) fn verdict_on(&self, status: StatusCode) -> Verdict {
        let outcome = Outcome::answered(status, None);
        self.shared.core.retry.verdict(&any_id(), 1, outcome)
    }

    /// How many attempts a delivery gets at an endpoint that never answers.
    pub(crate) fn attempts(&self) -> u32 {
        self.shared.core.retry.attempts(&any_id())
    }
}

/// An id is asked for jitter alone.
fn any_id() -> RequestId {
    RequestId::from(DeliveryId::fresh())
}
