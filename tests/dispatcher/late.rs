//! An outbox that answers too late: whoever waited for it was cut off, or has shut down.

use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::oneshot;
use tower::service_fn;
use tower_webhook::{
    BoxError, Delivery, Dispatcher, EventKind,
    outbox::{
        Accepted, AttemptRecord, Claim, Demand, MemoryClaim, MemoryOutbox, MemorySource, Outbox,
        Source, Verdict,
    },
};

use crate::world::{World, call};

/// Notes how an attempt ended, and never says that it has.
struct Silent(MemorySource);

struct SilentClaim(MemoryClaim);

impl Source for Silent {
    type Claim = SilentClaim;

    async fn next(&mut self, demand: Demand<'_>) -> Result<Vec<SilentClaim>, BoxError> {
        let claims = self.0.next(demand).await?;
        Ok(claims.into_iter().map(SilentClaim).collect())
    }

    fn drain(&mut self) -> Vec<Delivery> {
        self.0.drain()
    }
}

impl Claim for SilentClaim {
    fn delivery(&self) -> &Delivery {
        self.0.delivery()
    }

    fn attempt(&self) -> u32 {
        self.0.attempt()
    }

    async fn settle(self, verdict: Verdict, record: AttemptRecord) -> Result<(), BoxError> {
        self.0.settle(verdict, record).await?;
        pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_that_the_outbox_was_told_is_reported() {
    let (sink, source, ledger) = MemoryOutbox::new().split();
    let builder = Dispatcher::builder().with_outbox((sink, Silent(source), ledger));
    let (mut world, builder) = World::new(builder);
    let dispatcher = builder.build();
    call(&dispatcher, "example.com", "a").await;
    world.post().await.answer(200);
    while !matches!(world.event().await, EventKind::Attempted { .. }) {}
    let report = dispatcher.shutdown(Duration::from_secs(1)).await;
    assert!(report.abandoned.is_empty());
    assert_eq!(world.end().await, EventKind::Delivered { attempts: 1 });
    assert!(world.events.try_recv().is_err(), "once");
    assert_eq!(dispatcher.outstanding(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_the_outbox_refuses_after_a_shutdown_is_abandoned() {
    let (refuse, refused) = oneshot::channel::<()>();
    let refused = Arc::new(Mutex::new(Some(refused)));
    let sink = service_fn(move |_: Delivery| {
        let refused = refused.lock().unwrap().take();
        async move {
            refused.expect("it is asked once").await?;
            Err::<Accepted, BoxError>("no".into())
        }
    });
    let (_, source, ledger) = MemoryOutbox::new().split();
    let builder = Dispatcher::builder().with_outbox((sink, source, ledger));
    let (mut world, builder) = World::new(builder);
    let dispatcher = builder.build();
    let calling = {
        let dispatcher = dispatcher.clone();
        tokio::spawn(async move { call(&dispatcher, "example.com", "a").await })
    };
    assert_eq!(world.event().await, EventKind::Accepted);
    let report = dispatcher.shutdown(Duration::from_secs(1)).await;
    assert_eq!(report.unfinished, 1);
    refuse.send(()).unwrap();
    assert_eq!(calling.await.unwrap(), 200);
    assert_eq!(world.event().await, EventKind::OutboxFailed);
    assert_eq!(world.event().await, EventKind::Abandoned);
}
