//! A server that is away for longer than a response waits.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    engine::Engine,
    fleet::{Fleet, Front},
    record::Load,
};

/// For how long; the full time is a setting. An insert is tried for 5 s.
fn time() -> Duration {
    let seconds = std::env::var("TOWER_WEBHOOK_AWAY");
    Duration::from_secs(seconds.map_or(7, |seconds| seconds.parse().unwrap()))
}

/// With what callers have seen of it.
async fn outage(engine: Engine, front: Front) -> Load {
    let mut fleet = Fleet::before(engine, front).await;
    let mut load = Load::on(&fleet.proxies()).await;
    load.record.more_answers(200).await;
    fleet.engine.stop();
    let before = load.record.answers();
    sleep(time()).await;
    let meanwhile = load.record.answers() - before;
    fleet.engine.run();
    load.record.more_answers(200).await;
    load.end().await;
    load.expect_all(&format!(
        "away for {:?}, {meanwhile} answered meanwhile",
        time()
    ));
    load
}

/// Calls are refused, or their webhooks wait in memory: nobody is killed here, and nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_loses_nothing() {
    if let Some(engine) = Engine::postgres() {
        outage(engine, Front::Server).await;
    }
}

/// No call waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn with_a_file_in_front_nobody_notices() {
    for engine in [Engine::postgres(), Engine::nats()].into_iter().flatten() {
        let load = outage(engine, Front::File).await;
        assert_eq!(load.record.refusals(), 0);
        // A response that waits for an outbox that is away waits for so long.
        let longest = load.record.longest();
        assert!(longest < Duration::from_secs(5), "{longest:?}");
    }
}
