use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};
use tower_webhook::{
    BoxError, Dispatcher,
    outbox::{DeliveryFilter, DeliveryState},
};

use crate::{ConsoleEvents, count};

/// Counted so far by state: of more, the page says "more than".
const COUNTED: usize = 1_000;
/// Less than a page waits between two looks.
const KEPT_FOR: Duration = Duration::from_secs(1);
/// Counting takes one part in so many of the time at most.
const SHARE: u32 = 20;
/// How long counting may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How soon it is tried again where it failed.
const AGAIN_IN: Duration = Duration::from_secs(5);

/// How many deliveries there are in each state, counted once for all who look.
#[derive(Clone, Default)]
pub(crate) struct Summary {
    counted: Arc<Mutex<Option<Counted>>>,
}

struct Counted {
    /// `None` where the outbox could not tell.
    states: Option<Value>,
    until: Instant,
}

impl Summary {
    pub(crate) async fn of(
        &self,
        dispatcher: &Dispatcher,
        events: Option<&ConsoleEvents>,
    ) -> Value {
        let counts = dispatcher.counts();
        let states = match dispatcher.can_list() {
            true => self.states(dispatcher).await,
            false => None,
        };
        json!({
            "states": states,
            "since_start": {
                "accepted": counts.accepted,
                "delivered": counts.delivered,
                "dead": counts.dead,
                "failed": counts.failed,
                "refused": counts.refused,
            },
            "hour": events.map(ConsoleEvents::last_hour),
        })
    }

    /// Whoever comes while it is counted waits for that count instead of making another one. Whoever leaves
    /// meanwhile does not end it: it would begin anew for the next.
    async fn states(&self, dispatcher: &Dispatcher) -> Option<Value> {
        let (counted, dispatcher) = (Arc::clone(&self.counted), dispatcher.clone());
        let counting = tokio::spawn(async move {
            let mut counted = counted.lock().await;
            let began = Instant::now();
            if let Some(Counted { states, until }) = &*counted
                && began < *until
            {
                return states.clone();
            }
            let states = match timeout(PATIENCE, by_state(&dispatcher)).await {
                Ok(Ok(states)) => Some(states),
                Ok(Err(error)) => {
                    tracing::error!(%error, "the outbox cannot be counted for the console");
                    None
                }
                Err(_elapsed) => {
                    tracing::error!("the outbox takes too long to be counted for the console");
                    None
                }
            };
            let pause = match states {
                Some(_) => KEPT_FOR.max(began.elapsed().saturating_mul(SHARE)),
                None => AGAIN_IN,
            };
            *counted = Some(Counted {
                states: states.clone(),
                until: Instant::now() + pause,
            });
            states
        });
        counting.await.ok().flatten()
    }
}

async fn by_state(dispatcher: &Dispatcher) -> Result<Value, BoxError> {
    let mut states = Vec::new();
    for &state in DeliveryState::ALL {
        let filter = DeliveryFilter::new().with_state(state);
        let found = count::up_to(COUNTED, dispatcher, &filter).await?;
        states.push(json!({
            "state": state.name(),
            "number": found.min(COUNTED),
            "is_more": found > COUNTED,
        }));
    }
    Ok(Value::Array(states))
}

#[cfg(test)]
mod tests {
    use std::{
        future::pending,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use tokio::time::sleep;
    use tower_webhook::outbox::{
        DeliveryRecord, DueDeliveries, Durability, Lease, Limits, NewDelivery, Outbox, Page,
        Sealing, SettleOutcome, Settlement, StoredDelivery, Want,
    };

    use super::*;

    /// Nothing is in it. It counts how often it is asked for that.
    struct Unlisted {
        asked: Arc<AtomicUsize>,
        hangs: bool,
        can_list: bool,
    }

    impl Outbox for Unlisted {
        fn limits(&self) -> Limits {
            let mut limits = Limits::new(Durability::Memory);
            limits.can_list = self.can_list;
            limits
        }

        fn sealing(&self) -> Sealing {
            Sealing::in_memory()
        }

        async fn insert(&self, _: Vec<NewDelivery>) -> Result<Vec<Option<Lease>>, BoxError> {
            Err("it takes nothing".into())
        }

        async fn fetch(&self, _: Want) -> Result<DueDeliveries, BoxError> {
            Ok(DueDeliveries::default())
        }

        async fn settle(&self, _: Vec<Settlement>) -> Result<Vec<SettleOutcome>, BoxError> {
            Ok(Vec::new())
        }

        async fn renew(&self, _: Vec<Lease>) -> Result<Vec<Lease>, BoxError> {
            Ok(Vec::new())
        }

        async fn close(&self) -> Result<Vec<StoredDelivery>, BoxError> {
            Ok(Vec::new())
        }

        async fn list(&self, _: DeliveryFilter, _: Page) -> Result<Vec<DeliveryRecord>, BoxError> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            match self.hangs {
                true => pending().await,
                false => Err("it is away".into()),
            }
        }
    }

    /// How often it is asked while people look, each for a moment, for so long.
    async fn asked(hangs: bool, time: Duration) -> usize {
        let asked = Arc::new(AtomicUsize::new(0));
        let outbox = Unlisted {
            asked: Arc::clone(&asked),
            hangs,
            can_list: true,
        };
        let dispatcher = Dispatcher::builder().with_outbox(outbox).build();
        let (summary, began) = (Summary::default(), Instant::now());
        while began.elapsed() < time {
            let looked = timeout(Duration::from_millis(10), summary.of(&dispatcher, None)).await;
            match hangs {
                true => assert!(looked.is_err()),
                // All else is told.
                false => assert_eq!(looked.unwrap()["states"], Value::Null),
            }
            sleep(Duration::from_millis(10)).await;
        }
        asked.load(Ordering::SeqCst)
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_leaves_has_nothing_counted_again() {
        assert_eq!(asked(true, PATIENCE).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_counted_is_tried_again_in_a_while() {
        assert_eq!(asked(false, AGAIN_IN * 7 / 2).await, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn what_can_never_be_counted_is_not_tried() {
        let outbox = Unlisted {
            asked: Arc::default(),
            hangs: true,
            can_list: false,
        };
        let asked = Arc::clone(&outbox.asked);
        let dispatcher = Dispatcher::builder().with_outbox(outbox).build();
        let summary = Summary::default().of(&dispatcher, None).await;
        assert_eq!(summary["states"], Value::Null);
        assert_eq!(asked.load(Ordering::SeqCst), 0);
    }
}
