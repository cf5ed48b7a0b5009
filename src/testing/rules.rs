use std::{
    collections::{HashMap, HashSet},
    future::poll_fn,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::{Duration, SystemTime},
};

use futures_util::future::join_all;
use http::{Request, Response, StatusCode};
use tokio::{
    task::yield_now,
    time::{Instant, sleep},
};
use tower::service_fn;

use super::fixture::{
    Judgement, SOON, dead, delivery, ensure, fetch, fetch_all, fetch_one_within, ids, is,
    many_segments, nothing_is_due, put, put_leased, record, settle, stored,
};
use crate::{
    delivery::Payload,
    dispatch::Dispatcher,
    endpoint::Host,
    error::BoxError,
    event::EventKind,
    id::DeliveryId,
    outbox::{
        DeliveryFilter, DeliveryState, Lease, NewDelivery, Outbox, Page, SettleOutcome, Settlement,
        Verdict, Want,
    },
    sync::lock,
};

pub(super) async fn insert_leases_where_it_is_asked(outbox: impl Outbox) -> Judgement {
    let deliveries: Vec<_> = (0..6).map(|_| delivery("a.example", "done")).collect();
    let mut batch = Vec::new();
    for (at, delivery) in deliveries.iter().enumerate() {
        batch.push(NewDelivery::new(stored(&outbox, delivery)?, at % 2 == 0));
    }
    let leases = is(outbox.insert(batch).await, "insert")?;
    ensure!(
        leases.len() == 6,
        "{} answers for a batch of 6",
        leases.len()
    );
    for (at, (lease, delivery)) in leases.iter().zip(&deliveries).enumerate() {
        let leased = lease.map(|lease| lease.delivery);
        let asked = (at % 2 == 0).then(|| delivery.id());
        ensure!(
            leased == asked,
            "for delivery {at} a lease of {leased:?}, not {asked:?}"
        );
    }
    Ok(())
}

pub(super) async fn fetch_gives_back_what_was_kept(outbox: impl Outbox) -> Judgement {
    let kept = delivery("a.example", many_segments());
    put(&outbox, &kept).await?;
    let found = fetch_all(&outbox).await?;
    ensure!(
        ids(&found) == [kept.id()],
        "{} deliveries for one",
        found.len()
    );
    let found = &found[0];
    ensure!(
        found.attempt == 1,
        "attempt {} for the first",
        found.attempt
    );
    ensure!(
        found.lease.delivery == kept.id(),
        "a lease of another delivery"
    );
    let stored = &found.stored;
    ensure!(stored.host.as_str() == "a.example", "another host");
    ensure!(
        stored.request_id == *kept.request_id(),
        "another request id"
    );
    ensure!(stored.status == kept.status(), "another status");
    let age = SystemTime::now().duration_since(stored.accepted_at);
    let is_recent = age.unwrap_or_default() < Duration::from_secs(3_600);
    ensure!(is_recent, "accepted at {:?}", stored.accepted_at);
    let payload = stored.payload.to_bytes();
    ensure!(payload == many_segments().to_bytes(), "another payload");
    let read = outbox
        .sealing()
        .open(stored.id, &stored.envelope, &stored.payload);
    let read = read.map_err(|error| format!("its envelope cannot be opened: {error}"))?;
    let is_same = read.endpoint().uri() == kept.endpoint().uri() && read.secret().is_some();
    ensure!(is_same, "another endpoint or no secret");
    Ok(())
}

pub(super) async fn fetch_skips_what_is_leased(outbox: impl Outbox) -> Judgement {
    put_leased(&outbox, &delivery("a.example", "1")).await?;
    nothing_is_due(&outbox, "insert has leased it").await?;
    put(&outbox, &delivery("a.example", "2")).await?;
    ensure!(
        fetch_all(&outbox).await?.len() == 1,
        "it is not due at once"
    );
    nothing_is_due(&outbox, "fetch has leased it").await
}

pub(super) async fn fetch_keeps_to_the_number(outbox: impl Outbox) -> Judgement {
    for _ in 0..10 {
        put(&outbox, &delivery("a.example", "done")).await?;
    }
    let mut seen = HashSet::new();
    for (wanted, is_more) in [(3, true), (3, true), (100, false)] {
        let due = fetch(&outbox, Want::up_to(wanted)).await?;
        let number = due.deliveries.len();
        ensure!(number <= wanted, "{number} where {wanted} are wanted");
        ensure!(
            number == wanted.min(4),
            "{number} where there are enough for {wanted}"
        );
        ensure!(due.more || !is_more, "it does not say that there are more");
        for id in ids(&due.deliveries) {
            ensure!(seen.insert(id), "the same delivery twice");
        }
    }
    ensure!(seen.len() == 10, "{} of 10", seen.len());
    Ok(())
}

pub(super) async fn fetch_keeps_to_the_bytes(outbox: impl Outbox) -> Judgement {
    for _ in 0..5 {
        put(
            &outbox,
            &delivery("a.example", bytes::Bytes::from(vec![7; 1_000])),
        )
        .await?;
    }
    let mut want = Want::up_to(100);
    for (bytes, number) in [(1_500, 2), (1, 1), (usize::MAX, 2)] {
        want.bytes = bytes;
        let found = fetch(&outbox, want.clone()).await?.deliveries.len();
        ensure!(
            found == number,
            "{found} of 1,000 bytes each where {bytes} bytes are wanted"
        );
    }
    Ok(())
}

pub(super) async fn fetch_reaches_past_saturated_hosts(outbox: impl Outbox) -> Judgement {
    let mut batch = Vec::new();
    for number in 0..3_000 {
        let host = format!("{}.stalled.example", number % 3);
        let new = stored(&outbox, &delivery(&host, "done"))?;
        batch.push(NewDelivery::new(new, false));
    }
    is(outbox.insert(batch).await, "insert")?;
    let healthy = delivery("healthy.example", "done");
    put(&outbox, &healthy).await?;
    let mut want = Want::up_to(10);
    for (host, most) in [
        ("0.stalled.example", 0),
        ("1.stalled.example", 0),
        ("2.stalled.example", 2),
    ] {
        want.of_host.insert(Host::from(host), most);
    }
    let mut found = Vec::new();
    for _ in 0..20 {
        let due = fetch(&outbox, want.clone()).await?;
        let is_over = due.deliveries.is_empty();
        for leased in &due.deliveries {
            let host = &leased.stored.host;
            ensure!(
                want.of(host) > 0,
                "fetch brought a delivery of a host of which none was wanted"
            );
        }
        found.extend(ids(&due.deliveries));
        if found.contains(&healthy.id()) {
            ensure!(due.more, "it does not say that there are more");
            return Ok(());
        }
        ensure!(!is_over, "nothing of the other host");
    }
    Err("the other host waits behind those that are saturated".to_owned())
}

pub(super) async fn fetch_brings_named_hosts_alone(outbox: impl Outbox) -> Judgement {
    put(&outbox, &delivery("other.example", "done")).await?;
    let named = delivery("named.example", "done");
    put(&outbox, &named).await?;
    let mut want = Want::up_to(10);
    want.of_other_hosts = 0;
    want.of_host.insert(Host::from("named.example"), 5);
    let found = ids(&fetch(&outbox, want).await?.deliveries);
    ensure!(
        found == [named.id()],
        "{} deliveries, not the one of the named host",
        found.len()
    );
    Ok(())
}

pub(super) async fn fetch_begins_with_the_longest_due(outbox: impl Outbox) -> Judgement {
    let mut order = Vec::new();
    for (at, delay) in [3_000, 1_000, 2_000].into_iter().enumerate() {
        let one = delivery(&format!("{at}.example"), "done");
        let lease = put_leased(&outbox, &one).await?;
        settle(
            &outbox,
            lease,
            Verdict::AgainIn(Duration::from_millis(delay)),
        )
        .await?;
        order.push((delay, one.id()));
    }
    order.sort_unstable();
    sleep(Duration::from_millis(3_500)).await;
    for (_, id) in order {
        let found = ids(&fetch(&outbox, Want::up_to(1)).await?.deliveries);
        ensure!(found == [id], "{found:?} before {id}");
    }
    Ok(())
}

pub(super) async fn delivered_is_gone(outbox: impl Outbox) -> Judgement {
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

pub(super) async fn again_is_due_later(outbox: impl Outbox) -> Judgement {
    let lease = put_leased(&outbox, &delivery("a.example", "done")).await?;
    let mut lease = lease;
    for attempt in 2..4 {
        let began = Instant::now();
        settle(&outbox, lease, Verdict::AgainIn(SOON)).await?;
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

pub(super) async fn dead_is_never_due(outbox: impl Outbox) -> Judgement {
    let lease = put_leased(&outbox, &delivery("a.example", "done")).await?;
    let settled = settle(&outbox, lease, dead()).await?;
    ensure!(settled == SettleOutcome::Done, "its lease is lost");
    sleep(SOON).await;
    nothing_is_due(&outbox, "it is dead").await
}

pub(super) async fn released_is_due_as_it_was(outbox: impl Outbox) -> Judgement {
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

pub(super) async fn a_lost_lease_changes_nothing(outbox: impl Outbox) -> Judgement {
    let one = delivery("a.example", "done");
    let lost = put_leased(&outbox, &one).await?;
    settle(&outbox, lost, Verdict::Released).await?;
    let held = fetch_one_within(&outbox, SOON).await?;
    let verdicts = [
        Verdict::Delivered,
        Verdict::AgainIn(Duration::ZERO),
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

pub(super) async fn settle_answers_in_order(outbox: impl Outbox) -> Judgement {
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

pub(super) async fn renew_tells_what_is_lost(outbox: impl Outbox) -> Judgement {
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

pub(super) async fn a_lease_runs_out(outbox: impl Outbox) -> Judgement {
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

pub(super) async fn insert_is_idempotent(outbox: impl Outbox) -> Judgement {
    let one = delivery("a.example", "done");
    for _ in 0..3 {
        put(&outbox, &one).await?;
    }
    let found = ids(&fetch_all(&outbox).await?);
    ensure!(found == [one.id()], "it is there {} times", found.len());
    Ok(())
}

pub(super) async fn close_hands_back(outbox: impl Outbox) -> Judgement {
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

pub(super) async fn list_is_newest_first(outbox: impl Outbox) -> Judgement {
    if !outbox.limits().can_list {
        return Ok(());
    }
    let mut all = Vec::new();
    for number in 0..12 {
        let one = delivery(&format!("{}.example", number % 2), "done");
        put(&outbox, &one).await?;
        all.push(one.id());
        // Ids grow with time, to the millisecond.
        sleep(Duration::from_millis(2)).await;
    }
    all.sort_unstable();
    all.reverse();
    let mut listed = Vec::new();
    let mut page = Page::first(5);
    loop {
        let records = is(outbox.list(DeliveryFilter::new(), page).await, "list")?;
        ensure!(
            records.len() <= 5,
            "{} records on a page of 5",
            records.len()
        );
        let Some(last) = records.last() else { break };
        page = page.after(last.id);
        listed.extend(records.iter().map(|record| record.id));
        ensure!(listed.len() <= all.len(), "the pages go on and on");
    }
    ensure!(
        listed == all,
        "the pages do not give each delivery once, newest first"
    );
    let of_host = DeliveryFilter::new().with_endpoint_host("1.example");
    let records = is(outbox.list(of_host.clone(), Page::first(99)).await, "list")?;
    let is_so = records.len() == 6 && records.iter().all(|record| of_host.lets_through(record));
    ensure!(
        is_so,
        "the filter by host lets {} through, not 6",
        records.len()
    );
    let dead = DeliveryFilter::new().with_state(DeliveryState::Dead);
    let records = is(outbox.list(dead, Page::first(99)).await, "list")?;
    ensure!(
        records.is_empty(),
        "{} are dead where none is",
        records.len()
    );
    let future = DeliveryFilter::new().accepted_since(SystemTime::now() + Duration::from_secs(99));
    let records = is(outbox.list(future, Page::first(99)).await, "list")?;
    ensure!(
        records.is_empty(),
        "{} were accepted in the future",
        records.len()
    );
    Ok(())
}

pub(super) async fn get_and_payload_find_one(outbox: impl Outbox) -> Judgement {
    if !outbox.limits().can_list {
        return Ok(());
    }
    put(&outbox, &delivery("a.example", "other")).await?;
    let one = delivery("b.example", many_segments());
    let lease = put_leased(&outbox, &one).await?;
    let died = settle(&outbox, lease, dead()).await?;
    ensure!(died == SettleOutcome::Done, "its lease is lost");
    let Some(found) = is(outbox.get(one.id()).await, "get")? else {
        return Err("get does not find it".to_owned());
    };
    let is_it = found.id == one.id()
        && found.request_id == *one.request_id()
        && found.host.as_str() == "b.example"
        && found.payload_len == many_segments().len()
        && found.state == DeliveryState::Dead;
    ensure!(is_it, "get finds something else: {found:?}");
    let [attempt] = &found.attempts[..] else {
        return Err(format!(
            "{} attempts where one was made",
            found.attempts.len()
        ));
    };
    let is_it = attempt.attempt == 1 && attempt.outcome == record(1, dead()).outcome;
    ensure!(is_it, "another attempt: {attempt:?}");
    let payload = is(outbox.payload(one.id()).await, "payload")?;
    let payload = payload.map(|payload| payload.to_bytes());
    ensure!(
        payload == Some(many_segments().to_bytes()),
        "another payload"
    );
    let nobody = DeliveryId::fresh();
    let found = is(outbox.get(nobody).await, "get")?;
    ensure!(found.is_none(), "get finds what is not there");
    let found = is(outbox.payload(nobody).await, "payload")?;
    ensure!(found.is_none(), "payload finds what is not there");
    Ok(())
}

pub(super) async fn redeliver_revives_the_dead(outbox: impl Outbox) -> Judgement {
    if !outbox.limits().can_redeliver {
        return Ok(());
    }
    const MANY: usize = 700;
    let mut died = HashSet::new();
    for number in 0..MANY + 1 {
        let host = if number == MANY {
            "other.example"
        } else {
            "a.example"
        };
        let one = delivery(host, "done");
        let lease = put_leased(&outbox, &one).await?;
        settle(&outbox, lease, dead()).await?;
        died.insert(one.id());
    }
    let waiting = delivery("a.example", "done");
    let lease = put_leased(&outbox, &waiting).await?;
    let later = Verdict::AgainIn(Duration::from_secs(3_600));
    settle(&outbox, lease, later).await?;
    let of_host = DeliveryFilter::new().with_endpoint_host("a.example");
    let number = is(outbox.redeliver(of_host.clone()).await, "redeliver")?;
    ensure!(number == MANY, "{number} where {MANY} are dead");
    let found = fetch_all(&outbox).await?;
    ensure!(
        found.len() == MANY,
        "{} are due where {MANY} were redelivered",
        found.len()
    );
    for leased in &found {
        ensure!(
            leased.attempt == 1,
            "attempt {} for the first",
            leased.attempt
        );
        ensure!(died.contains(&leased.stored.id), "one that was not dead");
    }
    let number = is(outbox.redeliver(of_host).await, "redeliver")?;
    ensure!(number == 0, "{number} redelivered twice");
    Ok(())
}

pub(super) async fn cancel_forgets_what_waits(outbox: impl Outbox) -> Judgement {
    if !outbox.limits().can_cancel {
        return Ok(());
    }
    const MANY: usize = 600;
    for _ in 0..MANY {
        put(&outbox, &delivery("a.example", "done")).await?;
    }
    let lease = put_leased(&outbox, &delivery("a.example", "done")).await?;
    let other = delivery("other.example", "done");
    put(&outbox, &other).await?;
    let of_host = DeliveryFilter::new().with_endpoint_host("a.example");
    let number = is(outbox.cancel(of_host).await, "cancel")?;
    ensure!(number == MANY, "{number} where {MANY} wait");
    let found = ids(&fetch_all(&outbox).await?);
    ensure!(
        found == [other.id()],
        "{} are due, not the other one",
        found.len()
    );
    let settled = settle(&outbox, lease, Verdict::Delivered).await?;
    ensure!(
        settled == SettleOutcome::Done,
        "one that was leased is gone"
    );
    Ok(())
}

pub(super) async fn a_dropped_call_loses_nothing(outbox: impl Outbox) -> Judgement {
    const MANY: usize = 50;
    let mut all = HashSet::new();
    for _ in 0..MANY {
        let one = delivery("a.example", "done");
        put(&outbox, &one).await?;
        all.insert(one.id());
    }
    let mut found = HashSet::new();
    for polls in 0..MANY {
        // As far as it gets in so many polls.
        let mut left = polls % 4;
        let mut fetching = std::pin::pin!(outbox.fetch(Want::up_to(1)));
        let fetched = poll_fn(|cx| match fetching.as_mut().poll(cx) {
            Poll::Ready(fetched) => Poll::Ready(Some(fetched)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => {
                left -= 1;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        });
        if let Some(fetched) = fetched.await {
            found.extend(ids(&is(fetched, "fetch")?.deliveries));
        }
        yield_now().await;
    }
    let time = outbox.limits().lease.unwrap_or_default();
    let began = Instant::now();
    while found.len() < MANY {
        let waited = began.elapsed();
        let missing = MANY - found.len();
        ensure!(waited < 3 * time + 20 * SOON, "{missing} are lost");
        found.extend(ids(&fetch_all(&outbox).await?));
        sleep(Duration::from_millis(20)).await;
    }
    ensure!(found == all, "others than were inserted");
    Ok(())
}

pub(super) async fn many_calls_at_once(outbox: impl Outbox) -> Judgement {
    let delivered = AtomicUsize::new(0);
    let one_after_the_other = async |number: usize| -> Judgement {
        for _ in 0..20 {
            let one = delivery(&format!("{number}.example"), "done");
            let lease = put_leased(&outbox, &one).await?;
            settle(&outbox, lease, Verdict::AgainIn(Duration::ZERO)).await?;
            for leased in fetch(&outbox, Want::up_to(3)).await?.deliveries {
                let settled = settle(&outbox, leased.lease, Verdict::Delivered).await?;
                ensure!(
                    settled == SettleOutcome::Done,
                    "a lease is lost that nobody took"
                );
                delivered.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    };
    for judged in join_all((0..8).map(one_after_the_other)).await {
        judged?;
    }
    for leased in fetch_all(&outbox).await? {
        settle(&outbox, leased.lease, Verdict::Delivered).await?;
        delivered.fetch_add(1, Ordering::Relaxed);
    }
    let delivered = delivered.into_inner();
    ensure!(delivered == 8 * 20, "{delivered} of 160 are delivered");
    Ok(())
}

/// How many attempts a host has under way, and had at most.
type UnderWay = HashMap<String, (usize, usize)>;

pub(super) async fn a_dispatcher_delivers_all(outbox: impl Outbox) -> Judgement {
    const DELIVERIES: usize = 300;
    const PER_HOST: usize = 3;
    let posts = Arc::new(AtomicUsize::new(0));
    let under_way = Arc::new(Mutex::new(UnderWay::new()));
    let client = {
        let (posts, under_way) = (Arc::clone(&posts), Arc::clone(&under_way));
        service_fn(move |request: Request<Payload>| {
            posts.fetch_add(1, Ordering::Relaxed);
            let host = request.uri().host().unwrap_or_default().to_owned();
            let is_first = request.headers()["x-webhook-attempt"] == "1";
            let under_way = Arc::clone(&under_way);
            async move {
                {
                    let mut under_way = lock(&under_way);
                    let (now, most) = under_way.entry(host.clone()).or_default();
                    *now += 1;
                    *most = (*most).max(*now);
                }
                sleep(Duration::from_millis(1)).await;
                if let Some((now, _)) = lock(&under_way).get_mut(&host) {
                    *now -= 1;
                }
                let mut response = Response::new(Payload::default());
                if is_first && host.starts_with('0') {
                    *response.status_mut() = StatusCode::NOT_FOUND;
                }
                Ok::<_, BoxError>(response)
            }
        })
    };
    let ended = Arc::new(Mutex::new(Vec::new()));
    let dispatcher = {
        let ended = Arc::clone(&ended);
        Dispatcher::builder_with_client(client)
            .with_outbox(outbox)
            .with_max_attempts_per_host(PER_HOST)
            .with_max_outstanding_per_host(DELIVERIES)
            .on_event(move |event| {
                if event.is_final() {
                    lock(&ended).push((event.delivery_id(), event.kind().clone()));
                }
            })
            .build()
    };
    for number in 0..DELIVERIES {
        let one = delivery(&format!("{}.example", number % 5), "done");
        let mut parts = crate::delivery::DeliveryParts::new(one.endpoint().clone(), "done".into());
        parts.request_id = one.request_id().clone();
        let taken = dispatcher.deliver(parts).await;
        taken.map_err(|refusal| format!("it is refused: {refusal:?}"))?;
    }
    let began = Instant::now();
    while lock(&ended).len() < DELIVERIES {
        let number = lock(&ended).len();
        ensure!(
            began.elapsed() < 40 * SOON,
            "{number} of {DELIVERIES} came to an end"
        );
        sleep(Duration::from_millis(5)).await;
    }
    let report = dispatcher.shutdown(20 * SOON).await;
    ensure!(
        report.abandoned.is_empty(),
        "{} are abandoned",
        report.abandoned.len()
    );
    let ended = lock(&ended).clone();
    let distinct: HashSet<_> = ended.iter().map(|(id, _)| *id).collect();
    let is_so = ended.len() == DELIVERIES && distinct.len() == DELIVERIES;
    ensure!(
        is_so,
        "{} ends of {} deliveries",
        ended.len(),
        distinct.len()
    );
    let is_delivered = |(_, kind): &(_, EventKind)| matches!(kind, EventKind::Delivered { .. });
    let delivered = ended.iter().filter(|end| is_delivered(end)).count();
    ensure!(
        delivered == DELIVERIES,
        "{delivered} of {DELIVERIES} are delivered"
    );
    let posts = posts.load(Ordering::Relaxed);
    let expected = DELIVERIES + DELIVERIES / 5;
    ensure!(
        posts == expected,
        "{posts} attempts where {expected} are due"
    );
    for (host, (_, most)) in &*lock(&under_way) {
        ensure!(
            *most <= PER_HOST,
            "{most} attempts of {host} under way at once"
        );
    }
    Ok(())
}
