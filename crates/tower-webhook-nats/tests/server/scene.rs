//! Deliveries that nobody sealed, put into an outbox and taken out of it.

use std::{
    collections::HashSet,
    time::{Duration, Instant, SystemTime},
};

use async_nats::jetstream;
use tokio::time::{sleep, timeout};
use tower_webhook::{
    DeliveryId, Payload, RequestId,
    endpoint::Host,
    outbox::{
        Envelope, Lease, LeasedDelivery, NewDelivery, Outbox, SettleOutcome, Settlement,
        StoredDelivery, Verdict, Want,
    },
};
use tower_webhook_nats::JetStreamOutbox;

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn stored(host: &str, payload: impl Into<Payload>) -> StoredDelivery {
    StoredDelivery::new(
        DeliveryId::fresh(),
        RequestId::parse("run_1").unwrap(),
        Host::from(host),
        None,
        SystemTime::now(),
        Envelope::from_bytes(vec![1, 2, 3]),
        payload.into(),
    )
}

pub(crate) async fn put(
    outbox: &JetStreamOutbox,
    number: usize,
    host: &str,
) -> HashSet<DeliveryId> {
    let batch: Vec<_> = (0..number)
        .map(|_| NewDelivery::new(stored(host, "done"), false))
        .collect();
    let ids = batch.iter().map(|new| new.stored.id).collect();
    outbox.insert(batch).await.unwrap();
    ids
}

pub(crate) async fn put_leased(outbox: &JetStreamOutbox, host: &str) -> Lease {
    let new = NewDelivery::new(stored(host, "done"), true);
    outbox.insert(vec![new]).await.unwrap()[0].unwrap()
}

pub(crate) async fn settle(outbox: &JetStreamOutbox, leases: &[Lease], verdict: Verdict) {
    let batch = leases
        .iter()
        .map(|lease| Settlement::new(*lease, verdict, None));
    let settled = outbox.settle(batch.collect()).await.unwrap();
    assert!(settled.iter().all(|one| *one == SettleOutcome::Done));
}

/// Until so many have come, or nothing has for a minute.
pub(crate) async fn fetch(outbox: &JetStreamOutbox, number: usize) -> Vec<LeasedDelivery> {
    let (mut found, mut moved) = (Vec::new(), Instant::now());
    let mut last = None;
    while found.len() < number {
        match outbox.fetch(Want::up_to(number - found.len())).await {
            Ok(due) if !due.deliveries.is_empty() => {
                moved = Instant::now();
                found.extend(due.deliveries);
            }
            Ok(_) => sleep(Duration::from_millis(20)).await,
            Err(error) => {
                last = Some(error);
                sleep(Duration::from_millis(20)).await;
            }
        }
        let so_far = found.len();
        assert!(
            moved.elapsed() < PATIENCE,
            "{so_far} of {number} have come; the last error: {last:?}"
        );
    }
    found
}

pub(crate) fn leases(leased: &[LeasedDelivery]) -> Vec<Lease> {
    leased.iter().map(|one| one.lease).collect()
}

pub(crate) fn ids(leased: &[LeasedDelivery]) -> HashSet<DeliveryId> {
    leased.iter().map(|one| one.stored.id).collect()
}

/// A client beside the outbox, as an operator has one.
pub(crate) async fn jetstream(address: &str) -> jetstream::Context {
    jetstream::new(async_nats::connect(address).await.unwrap())
}

pub(crate) async fn messages(context: &jetstream::Context, stream: &str) -> u64 {
    let stream = context.get_stream(stream).await.unwrap();
    stream.cached_info().state.messages
}

/// The server tells nobody.
pub(crate) async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("it becomes so");
}
