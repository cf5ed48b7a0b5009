use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::fixture::{
    Judgement, SOON, begin, dead, delivery, ensure, fetch_all, fetch_one_within, ids, is,
    nothing_is_due, put, put_leased, settle,
};
use crate::outbox::{DeliveryState, Outbox, SettleOutcome, Verdict};

pub(super) async fn it_outlives_the_process<O: Outbox>(open: impl AsyncFn() -> O) -> Judgement {
    let mut all = Vec::new();
    let first = open().await;
    for _ in 0..10 {
        let one = delivery("a.example", "done");
        put(&first, &one).await?;
        all.push(one.id());
    }
    drop(first);
    let second = open().await;
    let mut found = Vec::new();
    let began = Instant::now();
    while found.len() < all.len() && began.elapsed() < 20 * SOON {
        found.extend(ids(&fetch_all(&second).await?));
        sleep(Duration::from_millis(20)).await;
    }
    found.sort_unstable();
    all.sort_unstable();
    ensure!(found == all, "{} of {}", found.len(), all.len());
    Ok(())
}

pub(super) async fn what_was_noted_outlives_it_too<O: Outbox>(
    open: impl AsyncFn() -> O,
) -> Judgement {
    let first = open().await;
    let [again, gone, died] = ["again", "gone", "died"].map(|body| delivery("a.example", body));
    for (one, verdict) in [
        (&gone, Verdict::Delivered),
        (&died, dead()),
        (&again, Verdict::AgainIn(SOON)),
    ] {
        let lease = put_leased(&first, one).await?;
        settle(&first, lease, verdict).await?;
    }
    let began = Instant::now();
    is(first.close().await, "close")?;
    drop(first);
    let second = open().await;
    let found = fetch_one_within(&second, 20 * SOON).await?;
    let waited = began.elapsed();
    ensure!(found.stored.id == again.id(), "another delivery is due");
    ensure!(
        waited + Duration::from_millis(50) >= SOON,
        "it is due after {waited:?} of {SOON:?}"
    );
    ensure!(found.attempt == 2, "attempt {} for 2", found.attempt);
    ensure!(
        found.stored.payload.to_bytes() == again.payload().to_bytes(),
        "the payload is another one"
    );
    nothing_is_due(&second, "one was delivered and one is dead").await?;
    if second.limits().can_list {
        let record = is(second.get(died.id()).await, "get")?;
        let record = record.ok_or("the dead letter is not there")?;
        ensure!(
            record.state == DeliveryState::Dead && record.attempts.len() == 1,
            "the dead letter is {:?}, with {} attempts",
            record.state,
            record.attempts.len()
        );
    }
    Ok(())
}

pub(super) async fn a_lease_is_one_processes<O: Outbox>(open: impl AsyncFn() -> O) -> Judgement {
    let (one, other) = (open().await, open().await);
    let leased = put_leased(&one, &delivery("a.example", "done")).await?;
    let waiting = delivery("a.example", "done");
    put(&one, &waiting).await?;
    let found = fetch_one_within(&other, 20 * SOON).await?;
    ensure!(found.stored.id == waiting.id(), "it gets what is leased");
    nothing_is_due(&one, "the other one has it").await?;
    let time = other.limits().lease.unwrap_or(SOON);
    let began = Instant::now();
    while began.elapsed() < time * 3 / 2 {
        sleep(time / 4).await;
        is(one.renew(vec![leased]).await, "renew")?;
        is(other.renew(vec![found.lease]).await, "renew")?;
        nothing_is_due(&other, "the lease is renewed").await?;
    }
    for (outbox, lease) in [(&one, leased), (&other, found.lease)] {
        let settled = settle(outbox, lease, Verdict::Delivered).await?;
        ensure!(
            settled == SettleOutcome::Done,
            "a lease is lost that was renewed"
        );
    }
    Ok(())
}

pub(super) async fn close_hands_over_at_once<O: Outbox>(open: impl AsyncFn() -> O) -> Judgement {
    let (one, other) = (open().await, open().await);
    let leased = delivery("a.example", "done");
    put_leased(&one, &leased).await?;
    nothing_is_due(&other, "it is leased").await?;
    is(one.close().await, "close")?;
    let found = fetch_one_within(&other, SOON).await?;
    ensure!(found.stored.id == leased.id(), "another delivery");
    ensure!(
        found.attempt == 1,
        "attempt {} for the first",
        found.attempt
    );
    Ok(())
}

pub(super) async fn a_dead_processes_leases_run_out<O: Outbox>(
    open: impl AsyncFn() -> O,
) -> Judgement {
    let one = open().await;
    let other = open().await;
    let leased = delivery("a.example", "done");
    put_leased(&one, &leased).await?;
    // It is there, and does not renew anything: for the other one it is as good as dead.
    let time = other.limits().lease;
    let Some(time) = time else {
        return Err("an outbox that processes share needs leases that run out".to_owned());
    };
    let began = Instant::now();
    let found = fetch_one_within(&other, 3 * time + 20 * SOON).await?;
    ensure!(found.stored.id == leased.id(), "another delivery");
    let waited = began.elapsed();
    ensure!(
        waited + time / 4 >= time,
        "it is taken over after {waited:?} of {time:?}"
    );
    Ok(())
}

pub(super) async fn a_run_of_a_closed_process_is_told<O: Outbox>(
    open: impl AsyncFn() -> O,
) -> Judgement {
    let (one, other) = (open().await, open().await);
    let notice = delivery("a.example", "notice");
    if begin(&one, &notice).await?.is_none() {
        return Ok(());
    }
    nothing_is_due(&other, "it runs").await?;
    is(one.close().await, "close")?;
    let found = fetch_one_within(&other, SOON).await?;
    ensure!(found.stored.id == notice.id(), "another delivery");
    ensure!(found.attempt == 1, "attempt {}", found.attempt);
    Ok(())
}

pub(super) async fn a_run_of_a_dead_process_is_told<O: Outbox>(
    open: impl AsyncFn() -> O,
) -> Judgement {
    let (one, other) = (open().await, open().await);
    let notice = delivery("a.example", "notice");
    let Some(lost) = begin(&one, &notice).await? else {
        return Ok(());
    };
    // It is there, and does not renew anything: for the other one it is as good as dead.
    let time = other.limits().lease.unwrap_or(SOON);
    let began = Instant::now();
    let found = fetch_one_within(&other, 3 * time + 20 * SOON).await?;
    let waited = began.elapsed();
    ensure!(
        waited + time / 4 >= time,
        "it is told of after {waited:?} of {time:?}"
    );
    ensure!(found.stored.id == notice.id(), "another delivery");
    let settled = settle(&one, lost, Verdict::Delivered).await?;
    ensure!(
        settled == SettleOutcome::LeaseLost,
        "its end is taken from a lost lease"
    );
    let settled = settle(&other, found.lease, Verdict::Delivered).await?;
    ensure!(
        settled == SettleOutcome::Done,
        "the lease that holds is lost"
    );
    nothing_is_due(&other, "it was told").await
}

pub(super) async fn a_settlement_after_the_takeover_is_lost<O: Outbox>(
    open: impl AsyncFn() -> O,
) -> Judgement {
    let (one, other) = (open().await, open().await);
    let lost = put_leased(&one, &delivery("a.example", "done")).await?;
    let time = other.limits().lease.unwrap_or(SOON);
    let found = fetch_one_within(&other, 3 * time + 20 * SOON).await?;
    for verdict in [Verdict::Released, Verdict::Delivered] {
        let settled = settle(&one, lost, verdict).await?;
        ensure!(
            settled == SettleOutcome::LeaseLost,
            "{verdict:?} is taken from a lost lease"
        );
    }
    let gone = is(one.renew(vec![lost]).await, "renew")?;
    ensure!(gone == [lost], "renew does not tell that the lease is lost");
    let settled = settle(&other, found.lease, Verdict::Delivered).await?;
    ensure!(
        settled == SettleOutcome::Done,
        "the lease that holds is lost"
    );
    Ok(())
}
