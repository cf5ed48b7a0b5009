use std::sync::Arc;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tower_webhook::outbox::DeliveryFilter;

/// The right to run a read: each has a thread, a connection and its descriptors, and callers who look
/// their calls up cause reads. The thread holds the permit, as it goes on where its caller is gone.
///
/// What finds a few rows by an index does not wait for what goes through all of them.
#[derive(Debug)]
pub(crate) struct ReadPermits {
    short: Arc<Semaphore>,
    long: Arc<Semaphore>,
}

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadKind {
    Short,
    Long,
}

impl ReadKind {
    pub(crate) fn of_list(filter: &DeliveryFilter) -> Self {
        match filter.id().is_some() || filter.request_id().is_some() {
            true => Self::Short,
            false => Self::Long,
        }
    }

    /// How many run at once.
    pub(crate) const fn most(self) -> usize {
        match self {
            Self::Short => 4,
            Self::Long => 2,
        }
    }
}

impl ReadPermits {
    pub(crate) fn new() -> Self {
        let permits = |kind: ReadKind| Arc::new(Semaphore::new(kind.most()));
        Self {
            short: permits(ReadKind::Short),
            long: permits(ReadKind::Long),
        }
    }

    /// Waits for its turn, in any runtime.
    pub(crate) async fn take(&self, kind: ReadKind) -> Result<OwnedSemaphorePermit, AcquireError> {
        let permits = match kind {
            ReadKind::Short => &self.short,
            ReadKind::Long => &self.long,
        };
        Arc::clone(permits).acquire_owned().await
    }
}
