//! A server that is away for longer than a response waits.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use crate::{
    CALLERS,
    fleet::{Fleet, Front},
    record::{self, Record},
};

/// For how long; the full time is a setting. An insert is tried for 5 s.
fn time() -> Duration {
    let seconds = std::env::var("TOWER_WEBHOOK_AWAY");
    Duration::from_secs(seconds.map_or(7, |seconds| seconds.parse().unwrap()))
}

async fn outage(front: Front) -> Option<(Arc<Record>, usize)> {
    let mut fleet = Fleet::start(front).await?;
    let record = Arc::new(Record::default());
    let endpoint = record::receiver(&record).await;
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            tokio::spawn(record::call(
                Arc::clone(&record),
                fleet.proxies(),
                endpoint.clone(),
            ))
        })
        .collect();
    record.more_answers(200).await;
    fleet.server.stop();
    let before = record.answers();
    let began = Instant::now();
    sleep(time()).await;
    let meanwhile = record.answers() - before;
    println!(
        "away for {:?}, {meanwhile} answered meanwhile",
        began.elapsed()
    );
    fleet.server.run();
    record.more_answers(200).await;
    record.stop();
    for caller in callers {
        caller.await.unwrap();
    }
    fleet.until_all_has_gone_on().await;
    fleet.until_nothing_is_left().await;
    Some((record, meanwhile))
}

/// Calls are refused, or their webhooks wait in memory: nobody is killed here, and nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_loses_nothing() {
    if let Some((record, _)) = outage(Front::Server).await {
        let (answered, lost, repeated) = record.sums();
        println!("{answered} answered, {lost} lost, {repeated} more than once");
        assert_eq!(lost, 0);
    }
}

/// No call waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn with_a_file_in_front_nobody_notices() {
    if let Some((record, meanwhile)) = outage(Front::File).await {
        let (answered, lost, repeated) = record.sums();
        println!("{answered} answered, {lost} lost, {repeated} more than once");
        assert!(meanwhile > 0);
        assert_eq!(lost, 0);
    }
}
