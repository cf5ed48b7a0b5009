//! Query plans with many rows: the number of pages read is bounded, however many rows wait. The tests use page
//! counts from `EXPLAIN`, not time.

use std::time::SystemTime;

use tokio_postgres::{Client, types::Type};
use tower_webhook::{
    endpoint::Host,
    outbox::{DeliveryFilter, DeliveryState, Outbox, Page, Want},
};

use super::support::place::{self, Place};
use crate::{
    PostgresOutbox, bounds,
    choose::{self, HOSTS_AT_ONCE, ROWS},
    fetch, keys, lease,
    read::{self, ListQuery},
    settle,
    transaction::Param,
    value::{SqlId, to_i64},
};

/// `TOWER_WEBHOOK_ROWS=1000000` is the full test, which takes minutes.
fn rows() -> usize {
    let number = std::env::var("TOWER_WEBHOOK_ROWS");
    number.map_or(30_000, |number| number.parse().unwrap())
}

const HOSTS: usize = 5_000;

/// Most rows belong to one dead host and have been due for the longest; thousands of other hosts have one row
/// each.
async fn fill(place: &Place) -> (PostgresOutbox, Client) {
    let outbox = place.outbox().await;
    let sql = place.sql().await;
    sql.batch_execute(
        "ALTER TABLE delivery SET (autovacuum_enabled = off);
         ALTER TABLE payload SET (autovacuum_enabled = off);
         ANALYZE delivery; ANALYZE payload",
    )
    .await
    .unwrap();
    let rows = rows();
    sql.batch_execute(&format!(
        "INSERT INTO delivery (id, request_id, state, host, payload_len, accepted_at, due_at)
         SELECT gen_random_uuid(), 'a', 'waiting', 'dead.example', 1024, now(),
                now() - interval '1 day' + n * interval '1 ms'
         FROM generate_series(1, {rows}) AS n;
         INSERT INTO delivery (id, request_id, state, host, payload_len, accepted_at, due_at)
         SELECT gen_random_uuid(), 'a', 'waiting', 'h' || n || '.example', 1024, now(), now()
         FROM generate_series(1, {HOSTS}) AS n;
         INSERT INTO delivery (id, request_id, state, host, payload_len, accepted_at, due_at, died_at)
         SELECT gen_random_uuid(), 'a', 'dead', 'dead.example', 1024, now(), now(), now()
         FROM generate_series(1, {rows}) AS n;
         INSERT INTO payload SELECT id, '', 'x' FROM delivery;
         SET enable_seqscan = off; SET enable_bitmapscan = off; SET jit = off"
    ))
    .await
    .unwrap();
    (outbox, sql)
}

/// The plan of an executed statement.
struct Plan(String);

impl Plan {
    async fn of(sql: &Client, statement: &str, params: &[Param<'_>]) -> Self {
        let explain = format!("EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF) {statement}");
        let rows = sql.query_typed(&explain, params).await.unwrap();
        let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        Self(lines.join("\n"))
    }

    /// The pages of the whole plan, from its first node.
    fn pages(&self) -> usize {
        let buffers = self
            .0
            .lines()
            .find_map(|line| line.trim().strip_prefix("Buffers: shared "));
        let buffers = buffers.expect("it says so").split_whitespace();
        let number = |word: &str| {
            let (kind, number) = word.split_once('=')?;
            let is_read = ["hit", "read"].contains(&kind);
            is_read.then(|| number.parse::<usize>().unwrap())
        };
        buffers.filter_map(number).sum()
    }

    fn assert_bounded(&self, pages: usize) {
        assert!(!self.0.contains("Seq Scan on delivery"), "{}", self.0);
        assert!(self.pages() <= pages, "{} pages:\n{}", self.pages(), self.0);
    }
}

/// Statistics of a queue table are often stale.
#[tokio::test(flavor = "multi_thread")]
async fn no_plan_reads_past_all_that_is_parked_with_or_without_statistics() {
    let Some(place) = place::place() else { return };
    let (_outbox, sql) = fill(&place).await;
    for statistics in [
        "SELECT 'those of an empty table'",
        "DELETE FROM pg_statistic WHERE starelid = 'delivery'::regclass;
         UPDATE pg_class SET reltuples = -1, relpages = 0
         WHERE oid IN ('delivery'::regclass, 'payload'::regclass)",
        "ANALYZE delivery; ANALYZE payload",
        "VACUUM ANALYZE delivery",
    ] {
        for statement in statistics.split(';') {
            sql.batch_execute(statement).await.unwrap();
        }
        assert_bounded(&sql).await;
        assert_lists_bounded(&sql).await;
    }
}

/// A page of the list, of all and of what is rare among all the others. Whether what waits is rare, statistics
/// alone can tell.
async fn assert_lists_bounded(sql: &Client) {
    let filter = DeliveryFilter::new;
    for filter in [
        filter(),
        filter().with_state(DeliveryState::Running),
        filter().with_state(DeliveryState::Dead),
        filter().with_endpoint_host("h7.example"),
        filter().with_endpoint_host("nowhere.example"),
    ] {
        let query = ListQuery::new(&filter, Page::first(50));
        let list = Plan::of(sql, &query.sql, &query.params()).await;
        list.assert_bounded(50 * 20);
    }
}

async fn assert_bounded(sql: &Client) {
    sql.batch_execute("SET enable_nestloop = on").await.unwrap();
    let (hosts, numbers) = (vec!["dead.example"], vec![0_i64]);
    let (most, others, all) = (to_i64(ROWS), 4_i64, 64_i64);
    let params: [Param<'_>; 5] = [
        (&most, Type::INT8),
        (&hosts, Type::TEXT_ARRAY),
        (&numbers, Type::INT8_ARRAY),
        (&others, Type::INT8),
        (&all, Type::INT8),
    ];
    let due = Plan::of(sql, choose::DUE, &params).await;
    // Without a visibility map, each row costs a heap page.
    due.assert_bounded(3 * ROWS);

    let oldest = Plan::of(sql, read::OLDEST_DUE, &[]).await;
    oldest.assert_bounded(10);

    let most = to_i64(keys::SAMPLE);
    let names = Plan::of(sql, keys::NAMES, &[(&most, Type::INT8)]).await;
    names.assert_bounded(2 * 3 * keys::SAMPLE);

    let (after, at_once) = ("", to_i64(HOSTS_AT_ONCE));
    let params: [Param<'_>; 6] = [
        (&after, Type::TEXT),
        (&hosts, Type::TEXT_ARRAY),
        (&numbers, Type::INT8_ARRAY),
        (&others, Type::INT8),
        (&at_once, Type::INT8),
        (&all, Type::INT8),
    ];
    let turns = Plan::of(sql, choose::HOSTS, &params).await;
    // Two index descents for each host.
    turns.assert_bounded(HOSTS_AT_ONCE * 20);

    let numbers = vec![5_i64];
    let params: [Param<'_>; 3] = [
        (&hosts, Type::TEXT_ARRAY),
        (&numbers, Type::INT8_ARRAY),
        (&all, Type::INT8),
    ];
    let named = Plan::of(sql, choose::NAMED, &params).await;
    named.assert_bounded(40);

    let ids = sql.query(
        "SELECT id FROM delivery WHERE state = 'waiting' LIMIT 64",
        &[],
    );
    let ids: Vec<SqlId> = ids.await.unwrap().iter().map(|row| row.get(0)).collect();
    let (owner, token, ms) = (1_i64, 2_i64, 10_000_i64);
    let params: [Param<'_>; 4] = [
        (&ids, Type::UUID_ARRAY),
        (&owner, Type::INT8),
        (&token, Type::INT8),
        (&ms, Type::INT8),
    ];
    // As in transactions that write.
    sql.batch_execute("SET enable_nestloop = off")
        .await
        .unwrap();
    let claim = Plan::of(sql, fetch::CLAIM, &params).await;
    claim.assert_bounded(64 * 60);

    let (leased, tokens) = (ids.clone(), vec![token; 64]);
    let params: [Param<'_>; 3] = [
        (&leased, Type::UUID_ARRAY),
        (&tokens, Type::INT8_ARRAY),
        (&ms, Type::INT8),
    ];
    let renew = Plan::of(sql, lease::RENEW, &params).await;
    renew.assert_bounded(64 * 60);

    // 64 rows are leased at this point.
    let at_once = 512_i64;
    let reclaim = Plan::of(sql, lease::RECLAIM, &[(&at_once, Type::INT8)]).await;
    reclaim.assert_bounded(64 * 4 + 20);

    let none = vec![None::<&str>; 64];
    let records = vec![""; 64];
    let (keeps, largest) = (true, 1_000_000_i64);
    let kept = vec![true; 64];
    let params: [Param<'_>; 8] = [
        (&leased, Type::UUID_ARRAY),
        (&tokens, Type::INT8_ARRAY),
        (&none, Type::TEXT_ARRAY),
        (&records, Type::TEXT_ARRAY),
        (&keeps, Type::BOOL),
        (&keeps, Type::BOOL),
        (&largest, Type::INT8),
        (&kept, Type::BOOL_ARRAY),
    ];
    let end = Plan::of(sql, settle::END, &params).await;
    end.assert_bounded(64 * 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_dead_letters_are_removed_without_reading_all() {
    let Some(place) = place::place() else { return };
    let (_outbox, sql) = fill(&place).await;
    let [boundary, trim] = bounds::DEAD.statements();
    let (number, bytes) = (to_i64(rows()) - 10, i64::MAX);
    let params: [Param<'_>; 2] = [(&number, Type::INT8), (&bytes, Type::INT8)];
    let row = sql.query_typed(boundary, &params).await.unwrap();
    let (time, id): (SystemTime, SqlId) = (row[0].get(0), row[0].get(1));
    let (n, ms, at_once) = (None::<i64>, 86_400_000_i64, 512_i64);
    let params: [Param<'_>; 5] = [
        (&time, Type::TIMESTAMPTZ),
        (&id, Type::UUID),
        (&n, Type::INT8),
        (&ms, Type::INT8),
        (&at_once, Type::INT8),
    ];
    let trim = Plan::of(&sql, trim, &params).await;
    trim.assert_bounded(512 * 6);
    assert_eq!(
        place.count("delivery", "state = 'dead'").await,
        to_i64(rows()) - 10
    );
}

/// A host that is not saturated has its turn, however many others are.
#[tokio::test(flavor = "multi_thread")]
async fn one_host_among_thousands_that_are_saturated_has_its_turn() {
    let Some(place) = place::place() else { return };
    let (outbox, _) = fill(&place).await;
    let mut want = Want::up_to(50);
    want.of_host.insert(Host::from("dead.example"), 0);
    for number in 1..=HOSTS {
        if number != 1_234 {
            let host = format!("h{number}.example");
            want.of_host.insert(Host::from(&*host), 0);
        }
    }
    let due = outbox.fetch(want.clone()).await.unwrap();
    assert_eq!(due.deliveries.len(), 1);
    assert_eq!(due.deliveries[0].stored.host.as_str(), "h1234.example");
    assert!(due.more);
    // With nothing left for that host, the search ends.
    let nothing = outbox.fetch(want.clone()).await.unwrap();
    assert!(nothing.deliveries.is_empty() && nothing.more);
    // Every host has its turn, within the limits.
    let mut want = Want::up_to(1_000);
    want.of_host.insert(Host::from("dead.example"), 2);
    want.of_other_hosts = 4;
    let mut found = 1;
    let mut of_dead = 0;
    while found < HOSTS {
        let due = outbox.fetch(want.clone()).await.unwrap();
        let is_dead = |host: &Host| host.as_str() == "dead.example";
        let dead = due
            .deliveries
            .iter()
            .filter(|one| is_dead(&one.stored.host))
            .count();
        assert!(dead <= 2);
        assert!(due.deliveries.len() > dead, "{found} of {HOSTS}");
        of_dead += dead;
        found += due.deliveries.len() - dead;
    }
    assert!(of_dead > 0);
}
