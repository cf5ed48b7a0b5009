//! What is known of deliveries that the endpoint took. An outbox may forget them at once.

use crate::{
    outbox::{DeliveryFilter, DeliveryState, Outbox, Page, SettleOutcome, Verdict},
    testing::fixture::{
        Judgement, delivery, ensure, fetch_all, is, many_segments, nothing_is_due, put_leased,
        record, settle,
    },
};

pub(in crate::testing) async fn history_keeps_how_it_ended(outbox: impl Outbox) -> Judgement {
    if !outbox.limits().can_list {
        return Ok(());
    }
    let one = delivery("a.example", many_segments());
    let lease = put_leased(&outbox, &one).await?;
    let settled = settle(&outbox, lease, Verdict::Delivered).await?;
    ensure!(settled == SettleOutcome::Done, "its lease is lost");
    for state in [
        DeliveryState::Running,
        DeliveryState::Waiting,
        DeliveryState::Dead,
        DeliveryState::Failed,
    ] {
        let filter = DeliveryFilter::new().with_state(state);
        let found = is(outbox.list(filter, Page::first(9)).await, "list")?;
        ensure!(
            found.is_empty(),
            "it is listed as {state:?} where it was delivered"
        );
    }
    let filter = DeliveryFilter::new().with_state(DeliveryState::Delivered);
    let listed = is(outbox.list(filter, Page::first(9)).await, "list")?;
    let Some(found) = is(outbox.get(one.id()).await, "get")? else {
        ensure!(listed.is_empty(), "list finds what get does not");
        return Ok(());
    };
    ensure!(listed.len() == 1, "get finds what list does not");
    let is_it = found.state == DeliveryState::Delivered
        && found.request_id == *one.request_id()
        && found.host.as_str() == "a.example"
        && found.payload_len == many_segments().len();
    ensure!(is_it, "it is not what was delivered: {found:?}");
    let [attempt] = &found.attempts[..] else {
        return Err(format!(
            "{} attempts where one was made",
            found.attempts.len()
        ));
    };
    let is_it = attempt.attempt == 1 && attempt.outcome == record(1, Verdict::Delivered).outcome;
    ensure!(is_it, "another attempt: {attempt:?}");
    Ok(())
}

pub(in crate::testing) async fn redeliver_leaves_what_was_delivered(
    outbox: impl Outbox,
) -> Judgement {
    if !outbox.limits().can_redeliver {
        return Ok(());
    }
    let one = delivery("a.example", many_segments());
    let lease = put_leased(&outbox, &one).await?;
    settle(&outbox, lease, Verdict::Delivered).await?;
    for filter in [
        DeliveryFilter::new(),
        DeliveryFilter::new().with_id(one.id()),
        DeliveryFilter::new().with_state(DeliveryState::Waiting),
    ] {
        let number = is(outbox.redeliver(filter).await, "redeliver")?;
        ensure!(number == 0, "{number} redelivered that nobody asked for");
    }
    nothing_is_due(&outbox, "it was delivered").await?;
    let delivered = DeliveryFilter::new().with_state(DeliveryState::Delivered);
    let number = is(outbox.redeliver(delivered).await, "redeliver")?;
    let due = fetch_all(&outbox).await?;
    ensure!(
        number <= 1 && due.len() == number,
        "{} are due where {number} were redelivered",
        due.len()
    );
    for leased in &due {
        let is_it = leased.attempt == 1
            && leased.stored.id == one.id()
            && leased.stored.payload.to_bytes() == many_segments().to_bytes();
        ensure!(is_it, "another delivery is due than the one that was");
    }
    Ok(())
}
