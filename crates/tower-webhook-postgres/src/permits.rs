use tokio::sync::Semaphore;

use crate::command::Errand;

/// The most long administrative calls, and the most look-ups, that run at once. Both leave connections for
/// deliveries.
const READS: usize = 2;
const LOOK_UPS: usize = 2;

/// Permits of administrative calls.
pub(crate) struct Permits {
    reads: Semaphore,
    look_ups: Semaphore,
}

impl Permits {
    pub(crate) fn new() -> Self {
        Self {
            reads: Semaphore::new(READS),
            look_ups: Semaphore::new(LOOK_UPS),
        }
    }

    /// What the call waits for. Callers look up their own deliveries, however long lists take.
    pub(crate) fn of(&self, errand: &Errand) -> Option<&Semaphore> {
        match errand {
            Errand::Close(_) | Errand::OldestDue(_) => None,
            Errand::Redeliver(call) | Errand::Cancel(call) => {
                call.question.id().is_none().then_some(&self.reads)
            }
            Errand::List(call) => {
                let (filter, _) = &call.question;
                match filter.id().is_some() || filter.request_id().is_some() {
                    true => Some(&self.look_ups),
                    false => Some(&self.reads),
                }
            }
            Errand::Payload(_) => Some(&self.reads),
        }
    }
}
