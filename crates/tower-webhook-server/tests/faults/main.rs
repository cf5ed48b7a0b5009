//! A fleet under load whose parts are killed at random: proxies that accept, workers that deliver, and
//! the server between them. Whoever was answered in full gets the webhook.
//!
//! ```sh
//! # twenty minutes of it
//! TOWER_WEBHOOK_FAULTS=1200 cargo test -p tower-webhook-server --test faults -- --nocapture --test-threads=1
//! ```
//!
//! With `TOWER_WEBHOOK_NATS_CLUSTER=1` three NATS servers are tried as well.

#![cfg(unix)]

#[path = "../../../../tests/support/faketime.rs"]
mod faketime;
mod nats_support;
#[path = "../../../tower-webhook-postgres/tests/support/mod.rs"]
mod postgres_support;
#[path = "../../../../tests/support/process.rs"]
mod process;

mod away;
mod engine;
mod failover;
mod fleet;
mod record;

use std::time::{Duration, Instant};

use crate::{
    engine::Engine,
    fleet::{Fleet, Front},
    record::Load,
};

/// For how long something is killed again and again; the full time is a setting.
fn time() -> Duration {
    let seconds = std::env::var("TOWER_WEBHOOK_FAULTS");
    Duration::from_secs(seconds.map_or(10, |seconds| seconds.parse().unwrap()))
}

async fn kill_again_and_again(engine: Engine, what: &str) {
    let fleet = Fleet::before(engine, Front::Server).await;
    kill_parts_of(fleet, what).await;
}

async fn kill_parts_of(mut fleet: Fleet, what: &str) {
    let mut load = Load::on(&fleet.proxies()).await;
    let began = Instant::now();
    let mut kills = 0;
    while began.elapsed() < time() {
        // Between two there is something to lose.
        load.record.more_answers(50).await;
        fleet.kill_one().await;
        kills += 1;
    }
    load.end().await;
    load.expect_all(&format!("{what}, {kills} kills"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_answered_is_lost_whatever_is_killed() {
    if let Some(engine) = Engine::postgres() {
        kill_again_and_again(engine, "PostgreSQL").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_answered_is_lost_with_nats_either() {
    if let Some(engine) = Engine::nats() {
        kill_again_and_again(engine, "NATS").await;
    }
}

/// One of its servers, or all three at once.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_answered_is_lost_with_a_cluster_of_nats_servers() {
    if std::env::var_os("TOWER_WEBHOOK_NATS_CLUSTER").is_none() {
        eprintln!("SKIPPED: TOWER_WEBHOOK_NATS_CLUSTER is not set");
        return;
    }
    if let Some(engine) = Engine::nats_cluster() {
        kill_again_and_again(engine, "three NATS servers").await;
    }
}

/// Half of the fleet has a clock that is an hour behind, or ahead.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_answered_is_lost_where_clocks_differ() {
    for off_by in ["-1h", "+1h"] {
        let Some(environment) = faketime::environment(off_by) else {
            return;
        };
        for engine in [Engine::postgres(), Engine::nats()].into_iter().flatten() {
            let fleet = Fleet::with_others(engine, environment.to_vec()).await;
            kill_parts_of(fleet, &format!("clocks differ by {off_by}")).await;
        }
    }
}
