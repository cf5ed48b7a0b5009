//! What can be looked up, redelivered and cancelled.

use std::{
    collections::HashSet,
    time::{Duration, SystemTime},
};

use tokio::time::sleep;

use crate::{
    id::DeliveryId,
    outbox::{DeliveryFilter, DeliveryState, Outbox, Page, SettleOutcome, Verdict},
    testing::fixture::{
        Judgement, dead, delivery, ensure, fetch_all, ids, is, many_segments, put, put_leased,
        record, settle,
    },
};

pub(in crate::testing) async fn list_is_newest_first(outbox: impl Outbox) -> Judgement {
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

pub(in crate::testing) async fn get_and_payload_find_one(outbox: impl Outbox) -> Judgement {
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

pub(in crate::testing) async fn redeliver_revives_the_dead(outbox: impl Outbox) -> Judgement {
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

pub(in crate::testing) async fn cancel_forgets_what_waits(outbox: impl Outbox) -> Judgement {
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
