use tokio::sync::Semaphore;

use crate::command::Errand;

/// How many administrative calls of each kind run at once. Five together: of the eight connections that an outbox
/// has by default, three are left for deliveries.
const LONG: usize = 2;
const LOOK_UPS: usize = 2;
const SHORT: usize = 1;

/// How many calls of each kind wait at most.
const PLACES: usize = 1_024;

/// Permits of administrative calls.
pub(crate) struct Permits {
    /// Lists, payloads, and changes of many deliveries.
    long: Queue,
    /// Callers look up their own deliveries, however long lists take.
    look_ups: Queue,
    /// Changes of one delivery, and what metrics ask for.
    short: Queue,
}

/// A call has a place while it waits for its permit.
pub(crate) struct Queue {
    pub(crate) permits: Semaphore,
    pub(crate) places: Semaphore,
}

impl Permits {
    pub(crate) fn new() -> Self {
        Self {
            long: Queue::new(LONG),
            look_ups: Queue::new(LOOK_UPS),
            short: Queue::new(SHORT),
        }
    }

    /// Where the call waits for its turn, if it has to.
    pub(crate) fn of(&self, errand: &Errand) -> Option<&Queue> {
        let is_short = match errand {
            Errand::Close(_) => return None,
            Errand::List(call) => {
                let (filter, _) = &call.question;
                return match filter.id().is_some() || filter.request_id().is_some() {
                    true => Some(&self.look_ups),
                    false => Some(&self.long),
                };
            }
            Errand::OldestDue(_) => true,
            Errand::Redeliver(call) | Errand::Cancel(call) => call.question.id().is_some(),
            Errand::Payload(_) => false,
        };
        match is_short {
            true => Some(&self.short),
            false => Some(&self.long),
        }
    }
}

impl Queue {
    fn new(permits: usize) -> Self {
        Self {
            permits: Semaphore::new(permits),
            places: Semaphore::new(PLACES),
        }
    }
}
