//! Retention limits that several processes enforce at the same time.

use std::time::Duration;

use futures_util::future::join_all;

use super::support::place::{self, Place};
use crate::{
    PostgresOutbox,
    bounds::{Bounds, DEAD, HISTORY, Keeper, Kept},
    name::SchemaName,
};

const BEFORE: i64 = 9_000;
const LIMIT: usize = 6_000;
const BYTES: u64 = 1_000;
const PROCESSES: usize = 8;

const FILL: &str = "
    INSERT INTO delivery (id, request_id, state, host, payload_len, accepted_at, due_at, died_at)
    SELECT gen_random_uuid(), 'a', 'dead', 'a.example', 1000, now(), now(), now() + n * interval '1 ms'
    FROM generate_series(1, 9000) AS n;
    INSERT INTO history (id, request_id, host, payload_len, accepted_at, ended_at, attempts, envelope, bytes)
    SELECT gen_random_uuid(), 'a', 'a.example', 1000, now(), now(), '', '', 1000
    FROM generate_series(1, 9000) AS n";

/// Each counts before any has deleted something.
async fn assert_trims_to_the_limit(place: &Place, kept: Kept, table: &str, bounds: Bounds) {
    assert_eq!(place.count(table, "TRUE").await, BEFORE);
    let schema = SchemaName::new(&place.schema).unwrap();
    let transactions = place
        .builder()
        .with_max_connections(PROCESSES)
        .transactions(&schema)
        .unwrap();
    let mut keepers: Vec<_> = (0..PROCESSES).map(|_| Keeper::new(kept, bounds)).collect();
    let trimmed = join_all(
        keepers
            .iter_mut()
            .map(|keeper| keeper.run_if_due(&transactions)),
    );
    trimmed.await.into_iter().for_each(Result::unwrap);
    let left = place.count(table, "TRUE").await;
    assert_eq!(usize::try_from(left), Ok(LIMIT), "{table}, {bounds:?}");
}

const NONE: Bounds = Bounds {
    number: usize::MAX >> 2,
    bytes: u64::MAX >> 2,
    time: Duration::from_secs(100 * 365 * 86_400),
};

/// Not even where there is no server.
#[tokio::test]
async fn without_a_limit_nothing_is_counted() {
    let builder = PostgresOutbox::builder("host=/nowhere user=nobody");
    let schema = SchemaName::new("webhooks").unwrap();
    let transactions = builder.transactions(&schema).unwrap();
    for kept in [DEAD, HISTORY] {
        let mut keeper = Keeper::new(kept, NONE);
        keeper.run_if_due(&transactions).await.unwrap();
        assert!(!keeper.wants_more());
        keeper.has_grown();
        assert!(!keeper.wants_more());
        let mut keeper = Keeper::new(kept, Bounds { number: 1, ..NONE });
        assert!(keeper.run_if_due(&transactions).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_trim_at_once_remove_the_excess_only() {
    let none = Bounds {
        number: usize::MAX,
        bytes: u64::MAX,
        time: Duration::from_secs(86_400),
    };
    let number = Bounds {
        number: LIMIT,
        ..none
    };
    let bytes = Bounds {
        bytes: LIMIT as u64 * BYTES,
        ..none
    };
    for bounds in [number, bytes] {
        let Some(place) = place::place() else { return };
        drop(place.outbox().await);
        place.sql().await.batch_execute(FILL).await.unwrap();
        assert_trims_to_the_limit(&place, DEAD, "delivery", bounds).await;
        assert_trims_to_the_limit(&place, HISTORY, "history", bounds).await;
    }
}
