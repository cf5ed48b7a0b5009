//! Runtimes that have ended while one of their threads was still in the middle of something.

use std::{sync::Arc, time::Duration};

use tokio::{
    runtime::Runtime,
    time::{Instant, sleep, timeout},
};

use super::{Dispatcher, hub::RuntimeLink, insert::insert_together, settle::release, store::Which};
use crate::{
    delivery::{Delivery, DeliveryParts},
    endpoint::EndpointPolicy,
    error::BoxError,
    event::Durability,
    outbox::{
        DueDeliveries, Lease, Limits, MemoryOutbox, NewDelivery, Outbox, Sealing, SettleOutcome,
        Settlement, StoredDelivery, Want,
    },
};

/// As far as it says.
struct Durable(MemoryOutbox);

impl Outbox for Durable {
    fn limits(&self) -> Limits {
        Limits::new(Durability::LocalDisk)
    }

    fn sealing(&self) -> Sealing {
        self.0.sealing()
    }

    async fn insert(&self, batch: Vec<NewDelivery>) -> Result<Vec<Option<Lease>>, BoxError> {
        self.0.insert(batch).await
    }

    async fn fetch(&self, want: Want) -> Result<DueDeliveries, BoxError> {
        self.0.fetch(want).await
    }

    async fn settle(&self, batch: Vec<Settlement>) -> Result<Vec<SettleOutcome>, BoxError> {
        self.0.settle(batch).await
    }

    async fn renew(&self, leases: Vec<Lease>) -> Result<Vec<Lease>, BoxError> {
        self.0.renew(leases).await
    }

    async fn close(&self) -> Result<Vec<StoredDelivery>, BoxError> {
        self.0.close().await
    }
}

/// Longer than any machine takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn dispatcher() -> Dispatcher {
    let outbox = Durable(MemoryOutbox::new());
    let builder = Dispatcher::builder().with_outbox(outbox);
    builder.without_attempts().build()
}

fn delivery() -> Delivery {
    let endpoint = EndpointPolicy::public().check("https://a.example/");
    DeliveryParts::new(endpoint.unwrap(), "done".into()).into()
}

fn link_of_a_runtime_that_has_ended(dispatcher: &Dispatcher) -> Arc<RuntimeLink> {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async { dispatcher.shared.core.enter().unwrap() })
}

#[test]
fn what_is_settled_in_a_runtime_that_has_ended_is_settled_in_another() {
    let dispatcher = dispatcher();
    let core = &dispatcher.shared.core;
    let gone = link_of_a_runtime_that_has_ended(&dispatcher);
    Runtime::new().unwrap().block_on(async {
        dispatcher.start();
        let new = core.store(Which::Given).to_new(&delivery(), true).unwrap();
        let outbox = Arc::clone(&core.store(Which::Given).outbox);
        let lease = outbox.insert(vec![new]).await.unwrap()[0].unwrap();
        release(core, &gone, Which::Given, [lease]);
        let settled = async {
            while core.hub().given.unsettled > 0 {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, settled).await.expect("it is settled");
    });
}

#[test]
fn what_is_inserted_in_a_runtime_that_has_ended_is_inserted_anew() {
    let dispatcher = dispatcher();
    let gone = link_of_a_runtime_that_has_ended(&dispatcher);
    Runtime::new().unwrap().block_on(async {
        let core = &dispatcher.shared.core;
        let awaited = insert_together(core, &gone, &delivery(), Instant::now());
        let answer = timeout(PATIENCE, awaited.answer).await;
        assert!(answer.expect("there is an answer").is_err());
    });
}
