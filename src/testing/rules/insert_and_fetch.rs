//! What goes in comes out, in the right order and number.

use std::{
    collections::HashSet,
    time::{Duration, SystemTime},
};

use tokio::time::{Instant, sleep};

use crate::{
    endpoint::Host,
    outbox::{NewDelivery, Outbox, Verdict, Want},
    testing::fixture::{
        Judgement, delivery, ensure, fetch, fetch_all, ids, is, many_segments, nothing_is_due, put,
        put_leased, settle, stored,
    },
};

pub(in crate::testing) async fn insert_leases_where_it_is_asked(outbox: impl Outbox) -> Judgement {
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

pub(in crate::testing) async fn fetch_gives_back_what_was_kept(outbox: impl Outbox) -> Judgement {
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

pub(in crate::testing) async fn the_oldest_due_is_told(outbox: impl Outbox) -> Judgement {
    let oldest = async || is(outbox.oldest_due().await, "oldest_due");
    let empty = oldest().await?;
    ensure!(empty.is_none(), "{empty:?} of nothing");
    put_leased(&outbox, &delivery("a.example", "1")).await?;
    let leased = oldest().await?;
    ensure!(leased.is_none(), "{leased:?} of what insert has leased");
    let began = Instant::now();
    put(&outbox, &delivery("a.example", "2")).await?;
    let put_at = Instant::now();
    sleep(OVERDUE).await;
    put(&outbox, &delivery("b.example", "3")).await?;
    let least = put_at.elapsed();
    let Some(age) = oldest().await? else {
        // It cannot tell.
        return Ok(());
    };
    // Clocks are read in milliseconds, and differ a little.
    let (least, most) = (least - OVERDUE / 2, began.elapsed() + OVERDUE / 2);
    ensure!(
        (least..=most).contains(&age),
        "{age:?}, not {least:?} to {most:?}"
    );
    for leased in fetch_all(&outbox).await? {
        let again = Verdict::AgainIn(Duration::from_secs(3_600));
        settle(&outbox, leased.lease, again).await?;
    }
    let waiting = oldest().await?;
    ensure!(waiting.is_none(), "{waiting:?} of what is due in an hour");
    Ok(())
}

/// Long enough to be told apart from what clocks differ by.
const OVERDUE: Duration = Duration::from_millis(100);

pub(in crate::testing) async fn fetch_skips_what_is_leased(outbox: impl Outbox) -> Judgement {
    put_leased(&outbox, &delivery("a.example", "1")).await?;
    nothing_is_due(&outbox, "insert has leased it").await?;
    put(&outbox, &delivery("a.example", "2")).await?;
    ensure!(
        fetch_all(&outbox).await?.len() == 1,
        "it is not due at once"
    );
    nothing_is_due(&outbox, "fetch has leased it").await
}

pub(in crate::testing) async fn fetch_keeps_to_the_number(outbox: impl Outbox) -> Judgement {
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

pub(in crate::testing) async fn fetch_keeps_to_the_bytes(outbox: impl Outbox) -> Judgement {
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

pub(in crate::testing) async fn fetch_reaches_past_saturated_hosts(
    outbox: impl Outbox,
) -> Judgement {
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

pub(in crate::testing) async fn fetch_brings_named_hosts_alone(outbox: impl Outbox) -> Judgement {
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

pub(in crate::testing) async fn fetch_begins_with_the_longest_due(
    outbox: impl Outbox,
) -> Judgement {
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

pub(in crate::testing) async fn insert_is_idempotent(outbox: impl Outbox) -> Judgement {
    let one = delivery("a.example", "done");
    for _ in 0..3 {
        put(&outbox, &one).await?;
    }
    let found = ids(&fetch_all(&outbox).await?);
    ensure!(found == [one.id()], "it is there {} times", found.len());
    // What was fetched is being attempted.
    let new = NewDelivery::new(stored(&outbox, &one)?, true);
    let leases = is(outbox.insert(vec![new]).await, "insert")?;
    ensure!(leases == [None], "what was fetched is leased once more");
    Ok(())
}
