use std::collections::HashSet;

use tower_webhook::DeliveryId;

/// Runs that this outbox may have begun without its caller knowing: the insert failed with an unknown outcome, or
/// the caller no longer waited. If it begins them again, they are its own. A run that is begun again after its
/// caller was told is left alone.
#[derive(Default)]
pub(crate) struct Unheard(HashSet<DeliveryId>);

/// Callers may never come back. What is forgotten is told as interrupted once its lease has expired.
const MOST: usize = 65_536;

impl Unheard {
    pub(crate) fn add(&mut self, ids: impl IntoIterator<Item = DeliveryId>) {
        if self.0.len() >= MOST {
            self.0.clear();
        }
        self.0.extend(ids);
    }

    pub(crate) fn remove(&mut self, ids: impl IntoIterator<Item = DeliveryId>) {
        for id in ids {
            self.0.remove(&id);
        }
    }

    pub(crate) fn contains(&self, id: DeliveryId) -> bool {
        self.0.contains(&id)
    }
}
