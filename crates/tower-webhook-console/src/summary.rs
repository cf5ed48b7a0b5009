use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::sync::Mutex;
use tower_webhook::{
    Dispatcher,
    outbox::{DeliveryFilter, DeliveryState, Page},
};

use crate::{ConsoleEvents, answer::Refused};

/// Counted so far by state: of more, the page says "more than".
const COUNTED: usize = 1_000;
const KEPT_FOR: Duration = Duration::from_secs(5);
/// Counting takes one part in so many of the time at most.
const SHARE: u32 = 20;

/// How many deliveries there are in each state, counted once for all who look.
#[derive(Clone, Default)]
pub(crate) struct Summary {
    counted: Arc<Mutex<Option<Counted>>>,
}

struct Counted {
    states: Value,
    until: Instant,
}

impl Summary {
    pub(crate) async fn of(
        &self,
        dispatcher: &Dispatcher,
        events: Option<&ConsoleEvents>,
    ) -> Result<Value, Refused> {
        let counts = dispatcher.counts();
        Ok(json!({
            "states": self.states(dispatcher).await?,
            "since_start": {
                "accepted": counts.accepted,
                "delivered": counts.delivered,
                "dead": counts.dead,
                "failed": counts.failed,
                "refused": counts.refused,
            },
            "hour": events.map(ConsoleEvents::last_hour),
        }))
    }

    /// Whoever comes while it is counted waits for that count instead of making another one.
    async fn states(&self, dispatcher: &Dispatcher) -> Result<Value, Refused> {
        let mut counted = self.counted.lock().await;
        let began = Instant::now();
        if let Some(counted) = counted.as_ref().filter(|counted| began < counted.until) {
            return Ok(counted.states.clone());
        }
        let mut states = Vec::new();
        for &state in DeliveryState::ALL {
            let filter = DeliveryFilter::new().with_state(state);
            let page = Page::first(COUNTED + 1);
            let records = dispatcher.deliveries(&filter, page).await;
            let found = records.map_err(Refused::Outbox)?.len();
            states.push(json!({
                "state": state.name(),
                "number": found.min(COUNTED),
                "is_more": found > COUNTED,
            }));
        }
        let states = Value::Array(states);
        let pause = KEPT_FOR.max(began.elapsed().saturating_mul(SHARE));
        *counted = Some(Counted {
            states: states.clone(),
            until: Instant::now() + pause,
        });
        Ok(states)
    }
}
