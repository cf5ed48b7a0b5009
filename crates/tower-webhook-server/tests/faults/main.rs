//! A fleet under load whose parts are killed at random: proxies that accept, workers that deliver, and
//! the server between them. Whoever was answered in full gets the webhook.
//!
//! ```sh
//! # twenty minutes of it
//! TOWER_WEBHOOK_FAULTS=1200 cargo test -p tower-webhook-server --test faults -- --nocapture
//! ```

#![cfg(unix)]

#[path = "../../../tower-webhook-nats/tests/support/server.rs"]
mod nats_server;
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
    let mut fleet = Fleet::before(engine, Front::Server).await;
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
