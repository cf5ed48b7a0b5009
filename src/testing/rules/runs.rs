//! Runs: what an outbox keeps of calls that were promised an answer. An outbox may keep none.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    delivery::Delivery,
    event::{AttemptError, FailReason, Outcome},
    outbox::{DeliveryState, Lease, NewDelivery, Outbox, SettleOutcome, Verdict},
    testing::fixture::{
        Judgement, SOON, begin, delivery, ensure, fetch_all, fetch_one_within, ids, is,
        nothing_is_due, put_leased, settle, stored,
    },
};

async fn state_of(outbox: &impl Outbox, one: &Delivery) -> Judgement<Option<DeliveryState>> {
    match outbox.limits().can_list {
        true => Ok(is(outbox.get(one.id()).await, "get")?.map(|record| record.state)),
        false => Ok(None),
    }
}

pub(in crate::testing) async fn a_run_is_leased(outbox: impl Outbox) -> Judgement {
    let one = delivery("a.example", "notice");
    let Some(lease) = begin(&outbox, &one).await? else {
        return Ok(());
    };
    let other = delivery("a.example", "notice");
    begin(&outbox, &other).await?;
    sleep(Duration::from_millis(100)).await;
    nothing_is_due(&outbox, "its call runs").await?;
    let lost = is(outbox.renew(vec![lease]).await, "renew")?;
    ensure!(lost.is_empty(), "the lease of a run is lost");
    let again = begin(&outbox, &one).await?;
    ensure!(again.is_none(), "a run that is there is begun once more");
    let state = state_of(&outbox, &one).await?;
    let is_so = matches!(state, None | Some(DeliveryState::Running));
    ensure!(is_so, "it is {state:?} where its call runs");
    Ok(())
}

pub(in crate::testing) async fn insert_takes_the_place_of_a_run(outbox: impl Outbox) -> Judgement {
    for is_leased in [true, false] {
        let notice = delivery("a.example", "notice");
        let Some(run) = begin(&outbox, &notice).await? else {
            return Ok(());
        };
        let response = notice.with_payload("response");
        let new = NewDelivery::new(stored(&outbox, &response)?, is_leased);
        let leases = is(outbox.insert(vec![new]).await, "insert")?;
        let [lease] = leases[..] else {
            return Err(format!("{} leases for one delivery", leases.len()));
        };
        ensure!(
            lease.is_some() == is_leased,
            "insert gave {lease:?}, and was asked for a lease: {is_leased}"
        );
        ensure!(lease != Some(run), "the lease is that of the run");
        let state = state_of(&outbox, &response).await?;
        let is_so = matches!(state, None | Some(DeliveryState::Waiting));
        ensure!(is_so, "it is {state:?} where it waits");
        for verdict in [Verdict::Forgotten, Verdict::Released] {
            let settled = settle(&outbox, run, verdict).await?;
            ensure!(
                settled == SettleOutcome::LeaseLost,
                "{verdict:?} is taken from the lease of the run"
            );
        }
        let lease = match lease {
            Some(lease) => {
                nothing_is_due(&outbox, "it is leased").await?;
                settle(&outbox, lease, Verdict::Released).await?;
                fetch_one_within(&outbox, SOON).await?
            }
            None => fetch_one_within(&outbox, SOON).await?,
        };
        let found = lease.stored.payload.to_bytes();
        ensure!(found == "response", "what is due is not the response");
        settle(&outbox, lease.lease, Verdict::Delivered).await?;
        nothing_is_due(&outbox, "it was delivered").await?;
    }
    Ok(())
}

pub(in crate::testing) async fn a_run_that_has_ended_is_gone(outbox: impl Outbox) -> Judgement {
    let gone = delivery("a.example", "notice");
    let Some(lease) = begin(&outbox, &gone).await? else {
        return Ok(());
    };
    let settled = settle(&outbox, lease, Verdict::Forgotten).await?;
    ensure!(settled == SettleOutcome::Done, "the lease of a run is lost");
    let state = state_of(&outbox, &gone).await?;
    ensure!(state.is_none(), "it is {state:?} where it went elsewhere");
    let failed = delivery("a.example", "notice");
    let Some(lease) = begin(&outbox, &failed).await? else {
        return Err("a second run is not kept".to_owned());
    };
    let verdict = Verdict::Failed(FailReason::StatusNotForwarded);
    let settled = settle(&outbox, lease, verdict).await?;
    ensure!(settled == SettleOutcome::Done, "the lease of a run is lost");
    let state = state_of(&outbox, &failed).await?;
    let is_so = matches!(state, None | Some(DeliveryState::Failed));
    ensure!(is_so, "it is {state:?} where its call failed");
    nothing_is_due(&outbox, "both have ended").await
}

pub(in crate::testing) async fn a_run_that_is_handed_back_is_told(
    outbox: impl Outbox,
) -> Judgement {
    let one = delivery("a.example", "notice");
    let Some(lease) = begin(&outbox, &one).await? else {
        return Ok(());
    };
    settle(&outbox, lease, Verdict::Released).await?;
    let told = fetch_one_within(&outbox, SOON).await?;
    let is_it = told.stored.id == one.id() && told.stored.payload.to_bytes() == "notice";
    ensure!(is_it && told.attempt == 1, "another delivery is due");
    ensure!(told.lease != lease, "the lease is that of the run");
    let state = state_of(&outbox, &one).await?;
    let is_so = matches!(state, None | Some(DeliveryState::Waiting));
    ensure!(is_so, "it is {state:?} where its call was cut off");
    settle(&outbox, told.lease, Verdict::Delivered).await?;
    nothing_is_due(&outbox, "it was told").await?;
    // Its response comes after all, before anybody was told.
    let late = delivery("a.example", "notice");
    if let Some(lease) = begin(&outbox, &late).await? {
        settle(&outbox, lease, Verdict::Released).await?;
        let lease: Lease = put_leased(&outbox, &late.with_payload("response")).await?;
        nothing_is_due(&outbox, "the response has its place").await?;
        let settled = settle(&outbox, lease, Verdict::Delivered).await?;
        ensure!(settled == SettleOutcome::Done, "its lease is lost");
    }
    Ok(())
}

pub(in crate::testing) async fn a_late_response_takes_the_place_of_its_notice(
    outbox: impl Outbox,
) -> Judgement {
    let dead = Verdict::Dead(Outcome::Failed(AttemptError::Client));
    let again = Verdict::AgainIn(Duration::ZERO);
    for verdict in [None, Some(again), Some(dead), Some(Verdict::Delivered)] {
        let response = delivery("a.example", "response");
        let mut notice = response.with_payload("notice");
        notice.parts_mut().failure = Some(FailReason::Interrupted);
        let Some(run) = begin(&outbox, &notice).await? else {
            return Ok(());
        };
        settle(&outbox, run, Verdict::Released).await?;
        let told = fetch_one_within(&outbox, SOON).await?;
        // Its endpoint is being told, is to be told once more, could not be told, or was.
        if let Some(verdict) = verdict {
            settle(&outbox, told.lease, verdict).await?;
        }
        let lease = put_leased(&outbox, &response).await?;
        settle(&outbox, lease, Verdict::Released).await?;
        let found = fetch_one_within(&outbox, SOON).await?;
        let is_response = found.stored.payload.to_bytes() == "response";
        ensure!(is_response, "the response is gone, and its notice is due");
        settle(&outbox, found.lease, Verdict::Delivered).await?;
        nothing_is_due(&outbox, "the response was delivered").await?;
        if outbox.limits().can_list {
            let record = is(outbox.get(response.id()).await, "get")?;
            let is_response = record.is_none_or(|record| record.failure.is_none());
            ensure!(is_response, "its notice is listed where it was delivered");
        }
    }
    Ok(())
}

pub(in crate::testing) async fn close_hands_runs_back(outbox: impl Outbox) -> Judgement {
    let one = delivery("a.example", "notice");
    if begin(&outbox, &one).await?.is_none() {
        return Ok(());
    }
    let lost = is(outbox.close().await, "close")?;
    ensure!(lost.is_empty(), "a run is lost: somebody else owes its end");
    let due = ids(&fetch_all(&outbox).await?);
    let is_so = match outbox.limits().is_durable() {
        true => due == [one.id()],
        false => due.is_empty(),
    };
    ensure!(is_so, "{} are due after one run was closed", due.len());
    Ok(())
}
