use std::time::Duration;

use tokio::time::timeout;

use super::{builder, delivery, folder, ids, open, sql};
use crate::outbox::{Demand, Source};

#[tokio::test]
async fn hosts_without_room_hold_nobody_up() {
    let folder = folder();
    let mut outbox = open(builder(&folder));
    outbox.accept("first").await.unwrap();
    let columns = "id, state, host, endpoint, status, headers, payload_len, accepted_at, due_at";
    sql(&folder)
        .execute_batch(&format!(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 3000)
             INSERT INTO delivery ({columns})
                 SELECT 's-' || n, 'waiting', 'stalled.example', 'https://stalled.example/', 200,
                     '', 0, 0, n FROM n;
             INSERT INTO payload SELECT seq, x'' FROM delivery WHERE id LIKE 's-%';"
        ))
        .unwrap();
    let few = |_: &str| 2;
    let claims = outbox.source.next(Demand::new(3, &few)).await.unwrap();
    assert_eq!(ids(&claims)[..2], ["s-1", "s-2"]);
    assert_eq!(
        claims.len(),
        3,
        "and the one that became due after 3,000 others"
    );

    outbox.put(delivery("last", "b.example", "")).await.unwrap();
    let full = |host: &str| if host == "stalled.example" { 0 } else { 2 };
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
