use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tempfile::TempDir;
use tokio::{sync::oneshot, time::timeout};

use super::{Open, builder, delivery, folder, ids, open, sql};
use crate::{
    Host,
    outbox::{
        Claim, Demand, Source,
        sqlite::{
            clock::Clock,
            command::{Batch, ClaimRequest, Command},
        },
    },
};

/// So many rows of hosts that this SQL expression names by the row's number, `n`. None became due
/// after what is accepted.
pub(super) fn fill(folder: &TempDir, rows: usize, host: &str) {
    let columns = "id, state, host, endpoint, status, headers, payload_len, accepted_at, due_at";
    sql(folder)
        .execute_batch(&format!(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {rows})
             INSERT INTO delivery ({columns})
                 SELECT 's-' || n, 'waiting', {host}, 'https://' || {host} || '/', 200, '', 0, 0, n
                 FROM n;
             INSERT INTO payload SELECT seq, x'' FROM delivery WHERE id LIKE 's-%';"
        ))
        .unwrap();
}

/// What one request brings when these hosts are full.
async fn ask(outbox: &Open, full: &[String]) -> Batch {
    let (reply, answer) = oneshot::channel();
    let rooms = full.iter().map(|host| (Arc::from(host.as_str()), 0));
    let handle = outbox.sink.handle();
    let request = ClaimRequest {
        at_most: 9,
        rooms: rooms.collect(),
        room_elsewhere: 1,
        handle: handle.clone(),
        reply,
    };
    handle.send(Command::Claim(request)).unwrap();
    answer.await.unwrap().unwrap()
}

#[tokio::test]
async fn hosts_without_room_hold_nobody_up() {
    let folder = folder();
    let mut outbox = open(builder(&folder));
    outbox.accept("first").await.unwrap();
    fill(&folder, 3_000, "'stalled.example'");
    let few = |_: &Host| 2;
    let claims = outbox.source.next(Demand::new(3, &few)).await.unwrap();
    assert_eq!(ids(&claims)[..2], ["s-1", "s-2"]);
    assert_eq!(
        claims.len(),
        3,
        "and the one that became due after 3,000 others"
    );

    outbox.put(delivery("last", "b.example", "")).await.unwrap();
    let full = |host: &Host| {
        if host.as_str() == "stalled.example" {
            0
        } else {
            2
        }
    };
    let demand = Demand::new(9, &full);
    let more = outbox.source.next(demand).await.unwrap();
    assert_eq!(ids(&more), ["last"]);
    let none = timeout(Duration::from_millis(300), outbox.source.next(demand)).await;
    assert!(none.is_err(), "what has no room is not handed out");

    // As soon as there is room, without waiting for anything else.
    let again = timeout(Duration::from_millis(300), outbox.next(9))
        .await
        .unwrap();
    assert_eq!(ids(&again)[0], "s-3");
}

/// A source asks again at once when there are hosts left to look at.
#[tokio::test]
async fn a_round_through_hosts_without_room_has_an_end() {
    let folder = folder();
    let outbox = open(builder(&folder));
    fill(&folder, 1_200, "printf('h-%03d.example', n % 600)");
    let full: Vec<_> = (0..600).map(|n| format!("h-{n:03}.example")).collect();
    let mut held = Vec::new();
    for late in [None, Some("z.example"), None, Some("a.example"), None] {
        if let Some(host) = late {
            outbox.put(delivery("late", host, "")).await.unwrap();
        }
        let mut requests = 1;
        let mut batch = ask(&outbox, &full).await;
        while batch.more {
            requests += 1;
            assert!(requests <= 4, "600 hosts and one, 256 at a time");
            batch = ask(&outbox, &full).await;
        }
        let endpoint = batch.claims.first().map(|(_, row)| row.endpoint.clone());
        let expected = late.map(|host| Some(format!("https://{host}/")));
        assert_eq!(endpoint, expected);
        held.push(batch);
    }
}

#[tokio::test]
async fn a_host_that_has_room_again_during_a_round_is_looked_at_after_it() {
    const DAY: Duration = Duration::from_secs(24 * 3_600);
    let folder = folder();
    let mut outbox = open(builder(&folder).with_clock(Clock::system(), DAY));
    let due = Arc::clone(&outbox.sink.handle().due);
    fill(&folder, 1_500, "printf('h-%03d.example', n % 300)");
    outbox.accept("first").await.unwrap();
    due.notified().await;
    let (mut held, mut hosts) = (Vec::new(), HashSet::new());
    while held.len() < 301 {
        let room = |host: &Host| usize::from(!hosts.contains(host.as_str()));
        let claims = outbox.source.next(Demand::new(999, &room)).await.unwrap();
        hosts.extend(
            claims
                .iter()
                .map(|claim| claim.delivery().endpoint().host().to_owned()),
        );
        held.extend(claims);
    }
    outbox.accept("again").await.unwrap();
    // Nothing but room wakes the source from now on.
    due.notified().await;

    let requests = AtomicUsize::new(0);
    let room = |host: &Host| {
        let host = host.as_str();
        // The first thing that each request asks for.
        let requests = requests.fetch_add(usize::from(host.is_empty()), Ordering::SeqCst);
        usize::from(host.is_empty() || (host == "a.example" && requests > 1))
    };
    let next = outbox.source.next(Demand::new(9, &room));
    let claims = timeout(Duration::from_secs(20), next).await;
    assert_eq!(ids(&claims.unwrap().unwrap()), ["again"]);
}
