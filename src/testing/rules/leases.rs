//! What a verdict does, and whose a delivery is until then.

use std::{collections::HashSet, time::Duration};

use tokio::time::{Instant, sleep};

use crate::{
    id::DeliveryId,
    outbox::{Lease, Outbox, SettleOutcome, Settlement, Verdict, Want},
    testing::fixture::{
        Judgement, SOON, dead, delivery, ensure, fetch, fetch_all, fetch_one_within, ids, is,
        nothing_is_due, put, put_leased, record, settle,
    },
};

pub(in crate::testing) async fn delivered_is_gone(outbox: impl Outbox) -> Judgement {
    let first = put_leased(&outbox, &delivery("a.example", "1")).await?;
    put(&outbox, &delivery("a.example", "2")).await?;
    let second = fetch_one_within(&outbox, SOON).await?.lease;
    for lease in [first, second] {
        let settled = settle(&outbox, lease, Verdict::Delivered).await?;
        ensure!(settled == SettleOutcome::Done, "its lease is lost");
    }
    sleep(SOON).await;
    nothing_is_due(&outbox, "it was delivered").await
}

pub(in crate::testing) async fn again_is_due_later(outbox: impl Outbox) -> Judgement {
    is_due_later(outbox, Verdict::AgainIn(SOON), [2, 3]).await
}

pub(in crate::testing) async fn put_off_is_due_later(outbox: impl Outbox) -> Judgement {
    is_due_later(outbox, Verdict::PutOff(SOON), [1, 1]).await
}

/// After this verdict on its first attempt, and once more after that.
async fn is_due_later(outbox: impl Outbox, verdict: Verdict, attempts: [u32; 2]) -> Judgement {
    let mut lease = put_leased(&outbox, &delivery("a.example", "done")).await?;
    for attempt in attempts {
        let began = Instant::now();
        settle(&outbox, lease, verdict).await?;
        let due = fetch(&outbox, Want::up_to(9)).await?;
        let is_early = !due.deliveries.is_empty() && began.elapsed() < SOON;
        ensure!(!is_early, "it is fetched before its delay is over");
        if let Some(next_due) = due.next_due {
            ensure!(
                next_due <= SOON,
                "the next is due in {next_due:?}, not in {SOON:?}"
            );
        }
        let leased = fetch_one_within(&outbox, 20 * SOON).await?;
        let waited = began.elapsed();
        let is_early = waited + Duration::from_millis(50) < SOON;
        ensure!(!is_early, "it is fetched after {waited:?} of {SOON:?}");
        ensure!(
            leased.attempt == attempt,
            "attempt {} for {attempt}",
            leased.attempt
        );
        ensure!(
            leased.lease != lease,
            "the lease is the one that was settled"
        );
        lease = leased.lease;
    }
    Ok(())
}

pub(in crate::testing) async fn forgotten_is_gone(outbox: impl Outbox) -> Judgement {
    let one = delivery("a.example", "done");
    let lease = put_leased(&outbox, &one).await?;
    let settled = settle(&outbox, lease, Verdict::Forgotten).await?;
    ensure!(settled == SettleOutcome::Done, "its lease is lost");
    if outbox.limits().can_list {
        let record = is(outbox.get(one.id()).await, "get")?;
        ensure!(record.is_none(), "it is listed");
    }
    sleep(SOON).await;
    nothing_is_due(&outbox, "it is forgotten").await
}

pub(in crate::testing) async fn dead_is_never_due(outbox: impl Outbox) -> Judgement {
    let lease = put_leased(&outbox, &delivery("a.example", "done")).await?;
    let settled = settle(&outbox, lease, dead()).await?;
    ensure!(settled == SettleOutcome::Done, "its lease is lost");
    sleep(SOON).await;
    nothing_is_due(&outbox, "it is dead").await
}

pub(in crate::testing) async fn released_is_due_as_it_was(outbox: impl Outbox) -> Judgement {
    let one = delivery("a.example", "done");
    let mut lease = put_leased(&outbox, &one).await?;
    let mut tokens = HashSet::from([lease.token]);
    for attempt in [1, 1, 2] {
        if attempt == 2 {
            settle(&outbox, lease, Verdict::AgainIn(Duration::ZERO)).await?;
            lease = fetch_one_within(&outbox, SOON).await?.lease;
        }
        settle(&outbox, lease, Verdict::Released).await?;
        let leased = fetch_one_within(&outbox, SOON).await?;
        ensure!(leased.stored.id == one.id(), "another delivery");
        ensure!(
            leased.attempt == attempt,
            "attempt {} for {attempt}",
            leased.attempt
        );
        lease = leased.lease;
        ensure!(tokens.insert(lease.token), "the token of an earlier lease");
    }
    Ok(())
}

pub(in crate::testing) async fn a_lost_lease_changes_nothing(outbox: impl Outbox) -> Judgement {
    let one = delivery("a.example", "done");
    let lost = put_leased(&outbox, &one).await?;
    settle(&outbox, lost, Verdict::Released).await?;
    let held = fetch_one_within(&outbox, SOON).await?;
    let verdicts = [
        Verdict::Delivered,
        Verdict::AgainIn(Duration::ZERO),
        Verdict::PutOff(Duration::ZERO),
        Verdict::Forgotten,
        dead(),
        Verdict::Released,
    ];
    for verdict in verdicts {
        let settled = settle(&outbox, lost, verdict).await?;
        ensure!(
            settled == SettleOutcome::LeaseLost,
            "{verdict:?} is taken from a lost lease"
        );
        nothing_is_due(&outbox, "somebody else has it").await?;
    }
    let unknown = Lease::new(DeliveryId::fresh(), 1);
    let settled = settle(&outbox, unknown, Verdict::Delivered).await?;
    ensure!(
        settled == SettleOutcome::LeaseLost,
        "an unknown delivery is settled"
    );
    let settled = settle(&outbox, held.lease, Verdict::Delivered).await?;
    ensure!(
        settled == SettleOutcome::Done,
        "the lease that holds is lost"
    );
    let settled = settle(&outbox, held.lease, Verdict::Delivered).await?;
    ensure!(settled == SettleOutcome::LeaseLost, "it is settled twice");
    Ok(())
}

pub(in crate::testing) async fn settle_answers_in_order(outbox: impl Outbox) -> Judgement {
    let mut batch = Vec::new();
    let mut expected = Vec::new();
    for at in 0..20 {
        let mut lease = put_leased(&outbox, &delivery("a.example", "done")).await?;
        let is_lost = at % 3 == 0;
        if is_lost {
            lease = Lease::new(lease.delivery, lease.token.wrapping_add(1_000_000));
        }
        expected.push(match is_lost {
            true => SettleOutcome::LeaseLost,
            false => SettleOutcome::Done,
        });
        let verdict = match at % 4 {
            0 => Verdict::Released,
            1 => Verdict::AgainIn(Duration::from_secs(60)),
            2 => dead(),
            _ => Verdict::Delivered,
        };
        batch.push(Settlement::new(lease, verdict, Some(record(1, verdict))));
    }
    let settled = is(outbox.settle(batch).await, "settle")?;
    ensure!(settled == expected, "{settled:?}");
    Ok(())
}

pub(in crate::testing) async fn renew_tells_what_is_lost(outbox: impl Outbox) -> Judgement {
    let mut leases = Vec::new();
    for _ in 0..4 {
        leases.push(put_leased(&outbox, &delivery("a.example", "done")).await?);
    }
    let lost = is(outbox.renew(leases.clone()).await, "renew")?;
    ensure!(
        lost.is_empty(),
        "{lost:?} are lost though nothing has happened"
    );
    settle(&outbox, leases[0], Verdict::Delivered).await?;
    settle(&outbox, leases[2], Verdict::Released).await?;
    if outbox.limits().lease.is_none() {
        // Leases run for as long as the process lives: nobody asks.
        return Ok(());
    }
    let lost = is(outbox.renew(leases.clone()).await, "renew")?;
    let lost: HashSet<_> = lost.into_iter().collect();
    let gone = HashSet::from([leases[0], leases[2]]);
    ensure!(lost == gone, "{lost:?} are lost where {gone:?} are");
    Ok(())
}

pub(in crate::testing) async fn a_lease_runs_out(outbox: impl Outbox) -> Judgement {
    let Some(time) = outbox.limits().lease else {
        return Ok(());
    };
    let one = delivery("a.example", "done");
    let lease = put_leased(&outbox, &one).await?;
    // An outbox may notice that its own process is alive, and keep all that it has leased.
    let began = Instant::now();
    while began.elapsed() < time * 3 / 2 {
        sleep(time / 4).await;
        let lost = is(outbox.renew(vec![lease]).await, "renew")?;
        ensure!(lost.is_empty(), "a lease is lost that was renewed in time");
        nothing_is_due(&outbox, "the lease is renewed").await?;
    }
    let settled = settle(&outbox, lease, Verdict::Delivered).await?;
    ensure!(
        settled == SettleOutcome::Done,
        "a lease is lost that was renewed in time"
    );
    Ok(())
}

pub(in crate::testing) async fn close_hands_back(outbox: impl Outbox) -> Judgement {
    let leased = delivery("a.example", "1");
    let waiting = delivery("a.example", "2");
    let later = delivery("a.example", "3");
    let done = delivery("a.example", "4");
    let died = delivery("a.example", "5");
    put_leased(&outbox, &leased).await?;
    put(&outbox, &waiting).await?;
    for (one, verdict) in [
        (&later, Verdict::AgainIn(Duration::from_secs(3_600))),
        (&done, Verdict::Delivered),
        (&died, dead()),
    ] {
        let lease = put_leased(&outbox, one).await?;
        settle(&outbox, lease, verdict).await?;
    }
    let lost = is(outbox.close().await, "close")?;
    let lost: HashSet<_> = lost.iter().map(|stored| stored.id).collect();
    let expected = match outbox.limits().is_durable() {
        true => HashSet::new(),
        false => HashSet::from([leased.id(), waiting.id(), later.id()]),
    };
    ensure!(
        lost == expected,
        "{} deliveries are lost where {} are",
        lost.len(),
        expected.len()
    );
    if outbox.limits().is_durable() {
        let due: HashSet<_> = ids(&fetch_all(&outbox).await?).into_iter().collect();
        let expected = HashSet::from([leased.id(), waiting.id()]);
        ensure!(
            due == expected,
            "fetch on the closed outbox finds {} due, not 2",
            due.len()
        );
    }
    Ok(())
}
