//! Calls that are dropped, calls at the same time, and a dispatcher on top.

use std::{
    collections::{HashMap, HashSet},
    future::poll_fn,
    sync::atomic::{AtomicUsize, Ordering},
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use futures_util::future::join_all;
use http::{Request, Response, StatusCode};
use tokio::{
    task::yield_now,
    time::{Instant, sleep},
};
use tower::service_fn;

use crate::{
    delivery::Payload,
    dispatch::Dispatcher,
    error::BoxError,
    event::EventKind,
    outbox::{Outbox, SettleOutcome, Verdict, Want},
    sync::lock,
    testing::fixture::{
        Judgement, SOON, delivery, ensure, fetch, fetch_all, ids, is, put, put_leased, settle,
    },
};

pub(in crate::testing) async fn a_dropped_call_loses_nothing(outbox: impl Outbox) -> Judgement {
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

pub(in crate::testing) async fn many_calls_at_once(outbox: impl Outbox) -> Judgement {
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

pub(in crate::testing) async fn a_dispatcher_delivers_all(outbox: impl Outbox) -> Judgement {
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
