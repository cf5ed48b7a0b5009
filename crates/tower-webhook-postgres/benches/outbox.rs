//! Deliveries accepted and delivered per second with PostgreSQL: 64 callers, payloads of 1 KiB, one endpoint
//! host, and a server started by the bench. The baseline alternates with it within one run: a bare loop
//! that runs the same grouped insert for all waiting callers, and delivers nothing.
//!
//! The dispatcher's client responds immediately, so HTTP is not measured. A process that accepts and delivers
//! does both on the cores of the loop: beside it stands one that leaves the attempts to others.
//!
//! ```sh
//! cargo bench -p tower-webhook-postgres --bench outbox
//! ```
//!
//! `TOWER_WEBHOOK_BENCH_MS` is the duration of a round, and `TOWER_WEBHOOK_BENCH_ROUNDS` their number. The last figure is the delivery rate while
//! `TOWER_WEBHOOK_BENCH_WAITING` deliveries wait for a dead host, relative to the rate without them.

#[path = "../../../benches/support/callers.rs"]
mod callers;
#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, SystemTime},
};

use tokio::sync::{mpsc, oneshot};
use tokio_postgres::{
    Client,
    types::{ToSql, Type},
};
use tower_webhook::{DeliveryId, dispatch::DispatcherBuilder};
use tower_webhook_postgres::PostgresOutbox;

use crate::{
    callers::{CALLERS, DEAD, Rates, SIZE, deliver, load, setting},
    support::{place::Place, server::Server},
};

const INSERT: &str = include_str!("../src/insert.sql");

#[tokio::main]
async fn main() {
    let Some(server) = Server::start(&[]) else {
        return;
    };
    let time = Duration::from_millis(setting("TOWER_WEBHOOK_BENCH_MS", 3_000));
    let waiting = setting("TOWER_WEBHOOK_BENCH_WAITING", 100_000);
    let [mut bare, mut alone, mut accepted, mut delivered, mut beside] = [const { Vec::new() }; 5];
    for _ in 0..setting("TOWER_WEBHOOK_BENCH_ROUNDS", 5) {
        bare.push(bare_loop(&server.place(), time).await);
        let builder = dispatcher(&server.place(), &Arc::default()).await;
        alone.push(callers::accepting_alone(builder, time).await);
        let without = rates_beside(&server.place(), time, 0).await;
        accepted.push(without.accepted);
        delivered.push(without.delivered);
        let with = rates_beside(&server.place(), time, waiting).await;
        beside.push(with.delivered);
    }
    let median = |rates: &[f64]| callers::median(rates.to_vec());
    let ratio = |rates: &[f64], of: &[f64]| {
        let ratios: Vec<_> = rates.iter().zip(of).map(|(rate, of)| rate / of).collect();
        median(&ratios)
    };
    println!("figure bare_accepted_per_s {:.0}", median(&bare));
    println!("figure postgres_accepted_alone_per_s {:.0}", median(&alone));
    println!("figure postgres_accepted_per_s {:.0}", median(&accepted));
    println!("figure postgres_delivered_per_s {:.0}", median(&delivered));
    println!(
        "figure accepted_alone_to_bare_ratio {:.2}",
        ratio(&alone, &bare)
    );
    println!(
        "figure accepted_to_bare_ratio {:.2}",
        ratio(&accepted, &bare)
    );
    println!(
        "figure delivered_of_accepted {:.2}",
        ratio(&delivered, &accepted)
    );
    println!("figure waiting_for_a_dead_host {waiting}");
    println!(
        "figure delivered_beside_those_ratio {:.2}",
        ratio(&beside, &delivered)
    );
}

/// While so many wait for the dead host.
async fn rates_beside(place: &Place, time: Duration, waiting: u64) -> Rates {
    if waiting > 0 {
        leave(place, waiting).await;
    }
    let number = Arc::new(AtomicU64::new(0));
    let dispatcher = dispatcher(place, &number).await.build();
    dispatcher.start();
    let rates = callers::rates(&dispatcher, &number, time).await;
    dispatcher.shutdown(Duration::from_millis(100)).await;
    rates
}

async fn dispatcher(place: &Place, number: &Arc<AtomicU64>) -> DispatcherBuilder {
    // In plaintext, because one envelope is copied to all waiting rows.
    let outbox = PostgresOutbox::builder(&place.url)
        .with_schema(&place.schema)
        .with_insecure_plaintext();
    let outbox = outbox.open().await.expect("it opens");
    callers::builder(number).with_outbox(outbox)
}

/// Creates due deliveries for the dead host.
async fn leave(place: &Place, waiting: u64) {
    let dispatcher = dispatcher(place, &Arc::default()).await.build();
    assert!(deliver(dispatcher.clone(), DEAD).await);
    dispatcher.shutdown(Duration::from_millis(100)).await;
    let sql = place.sql().await;
    sql.batch_execute(&format!(
        "INSERT INTO delivery (id, request_id, state, host, payload_len, accepted_at, due_at)
         SELECT gen_random_uuid(), 'a', 'waiting', host, payload_len, now(), now()
         FROM delivery, generate_series(1, {waiting});
         INSERT INTO payload SELECT id, (SELECT envelope FROM payload), (SELECT body FROM payload)
         FROM delivery WHERE id NOT IN (SELECT id FROM payload);
         ANALYZE delivery"
    ))
    .await
    .expect("it is filled");
}

/// One task and one connection, with the outbox's own statement and tables.
async fn bare_loop(place: &Place, time: Duration) -> f64 {
    drop(place.outbox().await);
    let sql = place.sql().await;
    let (sender, mut waiting) = mpsc::channel::<oneshot::Sender<()>>(CALLERS);
    let writer = tokio::spawn(async move {
        let mut group = Vec::new();
        while waiting.recv_many(&mut group, 1_024).await > 0 {
            insert(&sql, group.len()).await;
            for reply in group.drain(..) {
                reply.send(()).expect("it is waited for");
            }
        }
    });
    let insert = {
        let sender = sender.clone();
        move || {
            let sender = sender.clone();
            async move {
                let (reply, answer) = oneshot::channel();
                sender.send(reply).await.expect("it is there");
                answer.await.is_ok()
            }
        }
    };
    load(time / 4, insert.clone()).await;
    let accepted = load(time, insert).await;
    drop(sender);
    writer.await.expect("it ends");
    accepted
}

/// Inserts leased rows.
async fn insert(sql: &Client, number: usize) {
    let ids = (0..number).map(|_| DeliveryId::fresh().to_string());
    let ids: Vec<String> = ids.collect();
    let texts = vec!["a.example"; number];
    let (none, status) = (vec![None::<&str>; number], vec![200_i32; number]);
    let (length, now) = (vec![SIZE as i64; number], vec![SystemTime::now(); number]);
    let (lease, run) = (vec![true; number], vec![false; number]);
    let (envelope, body) = (
        vec![&[b'x'; 300][..]; number],
        vec![&[b'x'; SIZE][..]; number],
    );
    let (owner, token, ms) = (1_i64, 1_i64, 10_000_i64);
    let params: [(&(dyn ToSql + Sync), Type); 15] = [
        (&ids, Type::TEXT_ARRAY),
        (&texts, Type::TEXT_ARRAY),
        (&texts, Type::TEXT_ARRAY),
        (&status, Type::INT4_ARRAY),
        (&none, Type::TEXT_ARRAY),
        (&none, Type::TEXT_ARRAY),
        (&length, Type::INT8_ARRAY),
        (&now, Type::TIMESTAMPTZ_ARRAY),
        (&lease, Type::BOOL_ARRAY),
        (&run, Type::BOOL_ARRAY),
        (&envelope, Type::BYTEA_ARRAY),
        (&body, Type::BYTEA_ARRAY),
        (&owner, Type::INT8),
        (&token, Type::INT8),
        (&ms, Type::INT8),
    ];
    let kept = sql.query_typed(INSERT, &params).await;
    assert_eq!(kept.expect("they are kept").len(), number);
}
