//! A primary that dies under load, and a standby that takes its place.

use std::sync::Arc;

use crate::{
    CALLERS,
    fleet::{Fleet, Front},
    postgres_server::Server,
    record::{self, Record},
};

/// With a synchronous standby nothing that was acknowledged is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_failover_to_a_synchronous_standby_loses_nothing() {
    let Some(mut primary) = Server::start(&["listen_addresses=127.0.0.1"]) else {
        return;
    };
    let standby = primary.standby();
    let sql = primary.sql().await;
    // Once there is one to wait for.
    let streaming = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
    while sql
        .query_one(streaming, &[])
        .await
        .unwrap()
        .get::<_, i64>(0)
        == 0
    {
        tokio::task::yield_now().await;
    }
    for setting in [
        "ALTER SYSTEM SET synchronous_standby_names = '*'",
        "SELECT pg_reload_conf()",
    ] {
        sql.batch_execute(setting).await.unwrap();
    }
    let is_synchronous = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
    while sql
        .query_one(is_synchronous, &[])
        .await
        .unwrap()
        .get::<_, i64>(0)
        == 0
    {
        tokio::task::yield_now().await;
    }
    drop(sql);

    let at = format!("127.0.0.1:{},127.0.0.1:{}", primary.port(), standby.port());
    let record = Arc::new(Record::default());
    let endpoint = record::receiver(&record).await;
    let fleet = Fleet::before(standby, &at, Front::Server).await;
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            tokio::spawn(record::call(
                Arc::clone(&record),
                fleet.proxies(),
                endpoint.clone(),
            ))
        })
        .collect();
    record.more_answers(500).await;
    primary.kill();
    fleet.server.promote();
    record.more_answers(500).await;
    record.stop();
    for caller in callers {
        caller.await.unwrap();
    }
    fleet.until_nothing_is_left().await;
    let (answered, lost, repeated) = record.sums();
    println!("a failover: {answered} answered, {lost} lost, {repeated} more than once");
    assert_eq!(lost, 0);
}
