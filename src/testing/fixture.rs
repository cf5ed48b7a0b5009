use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, header::CONTENT_TYPE};
use tokio::time::{Instant, sleep};

use crate::{
    delivery::{Delivery, DeliveryParts, Payload, Secret},
    endpoint::EndpointPolicy,
    error::BoxError,
    event::Outcome,
    id::DeliveryId,
    outbox::{
        AttemptRecord, DueDeliveries, Lease, LeasedDelivery, NewDelivery, Outbox, SettleOutcome,
        Settlement, StoredDelivery, Verdict, Want,
    },
};

pub(super) type Judgement<T = ()> = Result<T, String>;

/// Fails with a sentence unless this is so.
macro_rules! ensure {
    ($is_so:expr, $($sentence:tt)*) => {
        if !$is_so {
            return Err(format!($($sentence)*));
        }
    };
}
pub(super) use ensure;

/// So soon that it is waited for, and so late that it is not due by accident.
pub(super) const SOON: Duration = Duration::from_millis(1_500);

pub(super) fn delivery(host: &str, payload: impl Into<Payload>) -> Delivery {
    let endpoint = EndpointPolicy::public().check(&format!("https://{host}/hook?token=1"));
    let endpoint = endpoint.expect("it is a public endpoint");
    let mut parts = DeliveryParts::new(endpoint, payload.into());
    parts.secret = Some(Secret::new("hush"));
    parts.headers = vec![(CONTENT_TYPE, HeaderValue::from_static("text/plain"))];
    parts.into()
}

pub(super) fn many_segments() -> Payload {
    let segments = (0..40).map(|n| Bytes::from(vec![n; 500 + usize::from(n)]));
    segments.collect::<Vec<_>>().into()
}

pub(super) fn is<T>(answer: Result<T, BoxError>, call: &str) -> Judgement<T> {
    answer.map_err(|error| format!("{call} failed: {error}"))
}

pub(super) fn stored(outbox: &impl Outbox, delivery: &Delivery) -> Judgement<StoredDelivery> {
    let envelope = outbox.sealing().seal(delivery);
    let envelope = envelope.map_err(|error| format!("it cannot be sealed: {error}"))?;
    Ok(StoredDelivery::of(delivery, envelope))
}

/// Keeps it, for whoever fetches it.
pub(super) async fn put(outbox: &impl Outbox, delivery: &Delivery) -> Judgement {
    let new = NewDelivery::new(stored(outbox, delivery)?, false);
    let leases = is(outbox.insert(vec![new]).await, "insert")?;
    ensure!(
        leases == [None],
        "insert gave {leases:?} where no lease was asked for"
    );
    Ok(())
}

/// Keeps it, leased.
pub(super) async fn put_leased(outbox: &impl Outbox, delivery: &Delivery) -> Judgement<Lease> {
    let new = NewDelivery::new(stored(outbox, delivery)?, true);
    let leases = is(outbox.insert(vec![new]).await, "insert")?;
    match leases[..] {
        [Some(lease)] if lease.delivery == delivery.id() => Ok(lease),
        _ => Err(format!(
            "insert gave {leases:?} where one lease was asked for"
        )),
    }
}

/// Keeps that its call runs; `None` for an outbox that does not.
pub(super) async fn begin(outbox: &impl Outbox, notice: &Delivery) -> Judgement<Option<Lease>> {
    let new = NewDelivery::new(stored(outbox, notice)?, true);
    let leases = is(outbox.begin(vec![new]).await, "begin")?;
    match leases[..] {
        [None] => Ok(None),
        [Some(lease)] if lease.delivery == notice.id() => Ok(Some(lease)),
        _ => Err(format!("begin gave {leases:?} for one run")),
    }
}

pub(super) async fn fetch(outbox: &impl Outbox, want: Want) -> Judgement<DueDeliveries> {
    is(outbox.fetch(want).await, "fetch")
}

/// Everything that is due at this moment.
pub(super) async fn fetch_all(outbox: &impl Outbox) -> Judgement<Vec<LeasedDelivery>> {
    let mut all = Vec::new();
    loop {
        let due = fetch(outbox, Want::up_to(1_000)).await?;
        let is_last = due.deliveries.is_empty();
        all.extend(due.deliveries);
        let number = all.len();
        ensure!(
            number <= 10_000,
            "fetch goes on and on: {number} deliveries (a lease that runs out meanwhile is one more)"
        );
        if is_last {
            return Ok(all);
        }
    }
}

/// One that is due now, or becomes due within that time.
pub(super) async fn fetch_one_within(
    outbox: &impl Outbox,
    time: Duration,
) -> Judgement<LeasedDelivery> {
    let began = Instant::now();
    loop {
        if let Some(one) = fetch(outbox, Want::up_to(1)).await?.deliveries.pop() {
            return Ok(one);
        }
        ensure!(began.elapsed() < time, "nothing is due within {time:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

pub(super) async fn settle(
    outbox: &impl Outbox,
    lease: Lease,
    verdict: Verdict,
) -> Judgement<SettleOutcome> {
    let settlement = Settlement::new(lease, verdict, Some(record(1, verdict)));
    let settled = is(outbox.settle(vec![settlement]).await, "settle")?;
    match settled[..] {
        [settled] => Ok(settled),
        _ => Err(format!("settle gave {settled:?} for one settlement")),
    }
}

pub(super) fn record(attempt: u32, verdict: Verdict) -> AttemptRecord {
    let status = match verdict {
        Verdict::Delivered => http::StatusCode::OK,
        _ => http::StatusCode::NOT_FOUND,
    };
    let outcome = Outcome::answered(status, None);
    let now = std::time::SystemTime::now();
    AttemptRecord::new(attempt, now, Duration::from_millis(7), outcome)
}

pub(super) fn dead() -> Verdict {
    Verdict::Dead(Outcome::answered(http::StatusCode::NOT_FOUND, None))
}

pub(super) fn ids(leased: &[LeasedDelivery]) -> Vec<DeliveryId> {
    leased.iter().map(|leased| leased.stored.id).collect()
}

/// Whether nothing is due at this moment.
pub(super) async fn nothing_is_due(outbox: &impl Outbox, why: &str) -> Judgement {
    let found = ids(&fetch_all(outbox).await?);
    ensure!(found.is_empty(), "{} fetched though {why}", found.len());
    Ok(())
}
